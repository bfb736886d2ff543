/**
 * The last lines of a command's help: how it is called.
 */

/** @param remark what it does */
export function example(line: string, remark: string = ''): string {
  return `\nExample:\n  ${line}${remark === '' ? '' : `   # ${remark}`}`;
}
