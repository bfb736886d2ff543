/**
 * What is wrong with a value, in words for people. The validator (zod) tells its own findings in its own words, of types and of `undefined`; here they become what the sender
 * of a request should do. A schema that has words of its own keeps them.
 */
import { z } from 'zod';

type Issue = z.core.$ZodRawIssue;
type UnionIssue = z.core.$ZodIssueInvalidUnion;

/** Values that are named; of more it is only said that it is none of them. */
const VALUES_MAX = 40;

const TYPES: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  tuple: 'a list',
  object: 'an object',
  record: 'an object',
};

const FORMATS: Readonly<Record<string, string>> = {
  datetime: 'a time such as 2026-11-29T17:00:00Z',
  base64: 'Base64',
};

/** Texts about values of a body, or of a path. */
export const faultText: z.core.$ZodErrorMap = (issue) => textOf(issue);

/** Texts about values of a query, which are all texts; one that comes twice is a list. */
export const queryFaultText: z.core.$ZodErrorMap = (issue) => (Array.isArray(issue.input) ? 'comes more than once' : textOf(issue));

function textOf(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined ? 'is required' : `must be ${typeText(issue.expected)}`;
    case 'invalid_value':
      return issue.input === undefined ? 'is required' : valueText(issue.values.map(String));
    case 'invalid_union':
      return issue.input === undefined ? 'is required' : unionText(issue.errors);
    case 'invalid_format':
      return `must be ${FORMATS[issue.format] ?? `as ${issue.pattern ?? issue.format} says`}`;
    case 'too_small':
      return sizeText(issue.origin, Number(issue.minimum), 'at least', issue.inclusive === false ? 'more than' : 'at least');
    case 'too_big':
      return sizeText(issue.origin, Number(issue.maximum), 'at most', issue.inclusive === false ? 'less than' : 'at most');
    case 'unrecognized_keys':
      return unknownText(issue.inst);
    case 'invalid_key':
      return 'has a name that is not allowed here';
    default:
      return 'is not valid';
  }
}

function typeText(expected: string): string {
  return TYPES[expected] ?? expected;
}

function valueText(values: readonly string[]): string {
  return values.length > VALUES_MAX ? 'is none of the values that are known here' : `must be ${inWords(values, 'or')}`;
}

/** Of several forms the one that the value was meant to have, if that can be seen. */
function unionText(forms: UnionIssue['errors']): string {
  const firsts = forms.flatMap(([first]) => (first === undefined ? [] : [first]));
  const near = firsts.find(({ code, path }) => path.length > 0 || (code !== 'invalid_type' && code !== 'invalid_value'));
  if (near !== undefined) return [near.path.join('.'), near.message].filter((text) => text !== '').join(': ');
  const words = firsts.flatMap((one) => {
    if (one.code === 'invalid_type') return [typeText(one.expected)];
    return one.code === 'invalid_value' ? one.values.map(String) : [];
  });
  return words.length === 0 ? 'is not valid' : valueText([...new Set(words)]);
}

function sizeText(origin: string, size: number, ofMany: string, ofNumber: string): string {
  if (origin === 'string') return size === 1 && ofMany === 'at least' ? 'must not be empty' : `must have ${ofMany} ${size} characters`;
  if (origin === 'array' || origin === 'set') return `must have ${ofMany} ${size} ${size === 1 ? 'entry' : 'entries'}`;
  return `must be ${ofNumber} ${size}`;
}

function unknownText(schema: Issue['inst']): string {
  const names = schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
  return names.length === 0 || names.length > VALUES_MAX ? 'is not known here' : `is not known here; known: ${names.join(', ')}`;
}

function inWords(words: readonly string[], word: string): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} ${word} ${words.at(-1)}`;
}
