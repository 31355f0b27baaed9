/**
 * Tokens that end generation, as llama.cpp finds them in a GGUF file: those that the metadata names, and tokens of
 * well-known names. Called by tokenizer-from-gguf.ts. Source: llama.cpp, src/llama-vocab.cpp (special_eog_ids).
 */

/** Keys whose token ends generation. The last three are of fill-in-the-middle: padding, repository, file. */
export const endTokenKeys = [
  "eos_token_id",
  "eot_token_id",
  "eom_token_id",
  "fim_pad_token_id",
  "fim_rep_token_id",
  "fim_sep_token_id",
] as const;

/** Whatever the token's type says. Also used, among special tokens, for models that are no GGUF files. */
export const endNames: readonly string[] = [
  ...["<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>"],
  ...["<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>"],
  ...["<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~["],
];

/** Names of fill-in-the-middle's padding, repository and file tokens, looked for where no key names one. */
const fimNames: Record<string, readonly string[]> = {
  fim_pad_token_id: ["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"],
  fim_rep_token_id: ["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"],
  fim_sep_token_id: ["<|file_sep|>"],
};

/**
 * @param idOf   the id of a token of this text, undefined where there is none
 * @param keyed  the token that a key names, null where it names none
 * @returns      ids in ascending order, and those of `endNames` among them: control tokens, whatever their type says
 */
export function endTokensOfGguf(
  idOf: (token: string) => number | undefined,
  keyed: (key: string) => number | null,
): { ids: number[]; named: number[] } {
  const ids = new Set<number>();
  for (const key of endTokenKeys) {
    const id = keyed(key) ?? fimNames[key]?.map(idOf).find((found) => found !== undefined);
    if (id !== undefined && id !== null) ids.add(id);
  }
  const named = withoutTextEnds(
    endNames.flatMap((name) => idOf(name) ?? []),
    idOf,
  );
  for (const id of named) ids.add(id);
  return { ids: [...withoutTextEnds([...ids], idOf)].sort((a, b) => a - b), named };
}

/**
 * "<|end|>" ends a message, not the answer, where "<|return|>" and "<|call|>" are there too (or "<|flush|>" and one of the
 * call tokens); and "</s>" is text where "<|tool_response>" or "<|plamo:eos|>" is there.
 */
export function withoutTextEnds(ids: readonly number[], idOf: (token: string) => number | undefined): number[] {
  const has = (name: string) => {
    const id = idOf(name);
    return id !== undefined && ids.includes(id);
  };
  const calls = has("<|call|>") || has("<|calls|>");
  const harmony = calls && (has("<|return|>") || has("<|flush|>"));
  const plainS = has("<|tool_response>") || has("<|plamo:eos|>");
  const dropped = [harmony ? idOf("<|end|>") : undefined, plainS ? idOf("</s>") : undefined];
  return ids.filter((id) => !dropped.includes(id));
}
