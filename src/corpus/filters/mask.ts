/**
 * Masks e-mail addresses, IP addresses and phone numbers, as Dolma does (L. Soldaini et al., arXiv:2402.00159, section 3:
 * its three patterns and its words |||EMAIL_ADDRESS||| and the like, here settable). A document with many of them, mostly a
 * directory, can be dropped instead; Dolma does so from six on.
 */
import { defineFilter, type Stage } from "../pipeline.ts";

export interface MaskOptions {
  email?: boolean;
  ip?: boolean;
  phone?: boolean;
  /** What stands instead. */
  emailAs?: string;
  ipAs?: string;
  phoneAs?: string;
  /** Drop documents with more of all three together; null: mask however many there are. */
  maxMasked?: number | null;
}

export const maskDefaults = {
  email: true,
  ip: true,
  phone: true,
  emailAs: "|||EMAIL_ADDRESS|||",
  ipAs: "|||IP_ADDRESS|||",
  phoneAs: "|||PHONE_NUMBER|||",
  maxMasked: null as number | null,
} satisfies Required<MaskOptions>;

const email =
  /(?<![\p{L}\p{N}._%+-])[\p{L}\p{N}._%+-]{1,64}@(?:[\p{L}\p{N}-]{1,63}\.){1,8}\p{L}{2,24}(?![\p{L}\p{N}])/gu;
const byte = "(?:25[0-5]|2[0-4]\\d|1?\\d?\\d)";
const ip = new RegExp(
  `(?<![\\d.])(?:${byte}\\.){3}${byte}(?![\\d]|\\.\\d)|(?<![0-9a-f:])(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?![0-9a-f:])`,
  "giu",
);
// An international number with its +, or a North American one: area code, exchange and line with signs between.
const phone =
  /(?<![\d+.-])(?:\+\d{1,3}[\s.-]?(?:\(\d{1,4}\)[\s.-]?)?\d{2,4}(?:[\s.-]?\d{2,4}){1,4}|(?:1[\s.-])?(?:\(\d{3}\)\s?|\d{3}[\s.-])\d{3}[\s.-]\d{4})(?!\d|[.-]\d)/gu;

/** Changes the text; counts what it masked; drops documents: too-many-masked. */
export function maskFilter(options: MaskOptions = {}): Stage {
  const rules = { ...maskDefaults, ...options };
  return defineFilter("mask", rules, (document, account) => {
    const counts = { emails: 0, "IP addresses": 0, "phone numbers": 0 };
    const replace = (text: string, pattern: RegExp, what: keyof typeof counts, as: string) =>
      text.replace(pattern, () => {
        counts[what]++;
        return as;
      });
    let { text } = document;
    if (rules.email) text = replace(text, email, "emails", rules.emailAs);
    if (rules.ip) text = replace(text, ip, "IP addresses", rules.ipAs);
    if (rules.phone) text = replace(text, phone, "phone numbers", rules.phoneAs);
    const total = counts.emails + counts["IP addresses"] + counts["phone numbers"];
    if (rules.maxMasked !== null && total > rules.maxMasked)
      return { drop: "too-many-masked", detail: `${total}, wanted at most ${rules.maxMasked}` };
    for (const [what, count] of Object.entries(counts)) if (count > 0) account.count(what, count);
    return text === document.text ? document : { ...document, text };
  });
}
