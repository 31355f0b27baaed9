/** Layers in groups that are measured together: each by itself, by block, or by role. */
import { linearNames, shortName, type Transformer } from "../../model/index.ts";

export const sensitivityGroups = ["layer", "block", "role"] as const;
export type SensitivityGroup = (typeof sensitivityGroups)[number];

export interface LayerGroup {
  /** "layers.0.mlp.down_proj"; "layers.0"; "down_proj". */
  name: string;
  /** Full names of its layers. */
  layers: string[];
}

/** @param names of the layers to be grouped; others of the model are left out */
export function groupLayers(
  { plan }: Pick<Transformer, "plan">,
  names: ReadonlySet<string>,
  by: SensitivityGroup,
): LayerGroup[] {
  const groups = new Map<string, string[]>();
  for (const { name, block, role } of plan.layers) {
    if (!names.has(name)) continue;
    const group =
      by === "layer" ? shortName(name) : by === "block" ? `layers.${block}` : linearNames[role].split(".").at(-1)!;
    groups.set(group, [...(groups.get(group) ?? []), name]);
  }
  return [...groups].map(([name, layers]) => ({ name, layers }));
}
