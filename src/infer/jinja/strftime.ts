/** Python's strftime, for `strftime_now` of templates. Called by globals.ts. */
import { TemplateError } from "./values.ts";

const days = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const months = ["January", "February", "March", "April", "May", "June", "July", "August", "September"].concat([
  "October",
  "November",
  "December",
]);

/** Python's strftime in the C locale. */
export function formatTime(format: string, now: Date): string {
  const two = (n: number) => String(n).padStart(2, "0");
  const hour12 = now.getHours() % 12 || 12;
  const dayOfYear =
    Math.round(
      (Date.UTC(now.getFullYear(), now.getMonth(), now.getDate()) - Date.UTC(now.getFullYear(), 0, 1)) / 86_400_000,
    ) + 1;
  const week = (first: number) => two(Math.floor((dayOfYear + 6 - ((now.getDay() - first + 7) % 7)) / 7));
  const fields: Record<string, () => string> = {
    a: () => days[now.getDay()].slice(0, 3),
    A: () => days[now.getDay()],
    b: () => months[now.getMonth()].slice(0, 3),
    B: () => months[now.getMonth()],
    d: () => two(now.getDate()),
    e: () => String(now.getDate()).padStart(2),
    f: () => String(now.getMilliseconds() * 1000).padStart(6, "0"),
    H: () => two(now.getHours()),
    I: () => two(hour12),
    j: () => String(dayOfYear).padStart(3, "0"),
    m: () => two(now.getMonth() + 1),
    M: () => two(now.getMinutes()),
    p: () => (now.getHours() < 12 ? "AM" : "PM"),
    S: () => two(now.getSeconds()),
    U: () => week(0),
    W: () => week(1),
    w: () => String(now.getDay()),
    u: () => String(now.getDay() || 7),
    y: () => two(now.getFullYear() % 100),
    Y: () => String(now.getFullYear()),
    D: () => formatTime("%m/%d/%y", now),
    F: () => formatTime("%Y-%m-%d", now),
    T: () => formatTime("%H:%M:%S", now),
    R: () => formatTime("%H:%M", now),
    c: () => formatTime("%a %b %e %H:%M:%S %Y", now),
    x: () => formatTime("%m/%d/%y", now),
    X: () => formatTime("%H:%M:%S", now),
    h: () => months[now.getMonth()].slice(0, 3),
    n: () => "\n",
    t: () => "\t",
    z: () => "",
    Z: () => "",
    "%": () => "%",
  };
  return format.replace(/%(-?)([a-zA-Z%])/g, (_, dash: string, letter: string) => {
    if (!Object.hasOwn(fields, letter)) throw new TemplateError(`strftime_now: the field %${letter} is not supported`);
    const field = fields[letter]();
    return dash ? field.replace(/^[0 ]+(?=.)/, "") : field;
  });
}
