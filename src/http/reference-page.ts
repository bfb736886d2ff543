/**
 * The reference page of the HTTP API, written from the table of routes: `docs/http-reference.md`.
 *
 * Nothing here runs in a broker; `npm run docs` writes the page, and CI compares it. Invariant: every route has its part, so none is served that the page does not have.
 */
import { z } from 'zod';
import { problemsOf } from './open-api.ts';
import { PROBLEMS, type ProblemCode } from './problem.ts';
import { ROLES } from './role.ts';
import type { Route } from './route.ts';
import { allRoutes } from './routes.ts';

/** Of JSON Schema: what the page shows. */
interface Schema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly additionalProperties?: Schema | boolean;
  readonly default?: unknown;
  readonly format?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly maxItems?: number;
}

/** Members of members that are shown. */
const DEPTH_MAX = 3;
/** What JSON Schema says where there is no limit. */
const LARGEST = Number.MAX_SAFE_INTEGER;

const introduction = `# HTTP reference

<!-- Written by \`npm run docs\` from the table of routes, src/http/routes.ts. Change it there. -->

Every route of the [HTTP API](http-api.md). A broker serves the same as OpenAPI 3.1 at \`/openapi.json\`.

The examples want the address in \`$ONEHOP_URL\` (\`http://127.0.0.1:8080\`) and an API key in \`$ONEHOP_API_KEY\`. The role of a route is the least that its caller needs: ${ROLES.map((role) => `\`${role}\``).join(' < ')}.
Every route may also answer ${['bad-request', 'internal', 'unavailable'].map((code) => problemText(code as ProblemCode)).join(', ')}, and every one with a role ${problemText('unauthorized')} and ${problemText('forbidden')}.
`;

/** The page, from all routes. */
export function httpReferencePage(routes: readonly Route[] = allRoutes()): string {
  const groups = new Map<string, Route[]>();
  for (const one of routes) groups.set(one.group, [...(groups.get(one.group) ?? []), one]);
  const parts = [introduction];
  for (const [group, list] of groups) {
    parts.push(`## ${group}`);
    parts.push(
      table(
        ['route', 'role', 'what'],
        list.map((one) => [`[\`${one.method} ${one.path}\`](#${anchor(title(one))})`, one.role ?? 'none', one.summary]),
      ),
    );
    for (const one of list) parts.push(...routeParts(one));
  }
  return `${parts.map((part) => part.trimEnd()).join('\n\n')}\n`;
}

function title({ method, path }: Route): string {
  return `${method} ${path}`;
}

/** The name that a heading has in a link. */
function anchor(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\w\- ]/g, '')
    .replaceAll(' ', '-');
}

function routeParts(one: Route): string[] {
  const parts = [`### ${title(one)}`];
  const who = one.role === null ? 'No credentials.' : `Role \`${one.role}\`.`;
  parts.push([`${one.summary}. ${who}`, one.description].filter((text) => text !== undefined).join('\n\n'));
  const parameters = parameterRows(one);
  if (parameters.length > 0) parts.push(table(['parameter', 'in', 'value', ''], parameters));
  if (one.body === 'bytes') parts.push('The body is taken as it is.');
  else if (one.body !== null) parts.push('The body is JSON:', members(schemaOf(one.body, 'input')));
  parts.push(answerText(one), `\`\`\`sh\n${curl(one)}\n\`\`\``);
  return parts;
}

function parameterRows(one: Route): string[][] {
  const inPath = one.params === null ? {} : (schemaOf(one.params, 'input').properties ?? {});
  const query: Schema = one.query === null ? {} : schemaOf(one.query, 'input');
  return [
    ...[...one.path.matchAll(/\{(\w+)(\.\.\.)?\}/g)].map(([, name, rest]) => {
      const schema = inPath[name!] ?? { type: 'string' };
      return [
        `\`${name}\``,
        'path',
        valueText(schema),
        described(schema, rest === undefined ? '' : 'The rest of the path, slashes and all.'),
      ];
    }),
    ...Object.entries(query.properties ?? {}).map(([name, schema]) => [
      `\`${name}\``,
      query.required?.includes(name) === true ? 'query, needed' : 'query',
      valueText(schema),
      described(schema, ''),
    ]),
    ...Object.entries(one.headerFacts).map(([name, text]) => [`\`${name}\``, 'header', 'text', text]),
  ];
}

function answerText(one: Route): string {
  const lines = Object.entries(one.answers).map(([status, { description, schema, type }]) => {
    const head = `- **${status}** ${description}${type === undefined ? '' : ` (\`${type}\`)`}`;
    const body = schema === undefined ? '' : memberList(schemaOf(schema, 'output'));
    return body === '' ? head : `${head} ${body}`;
  });
  const problems = problemsOf(one).filter(
    (code) => !['bad-request', 'internal', 'unavailable', 'unauthorized', 'forbidden'].includes(code),
  );
  if (problems.length > 0) lines.push(`- Problems: ${problems.map(problemText).join(', ')}`);
  return lines.join('\n');
}

function problemText(code: ProblemCode): string {
  return `${PROBLEMS[code][0]} \`${code}\``;
}

/** The members of an answer in one line. */
function memberList(schema: Schema): string {
  const text = shape(schema, 0);
  return text === 'object' || text === '{}' ? '' : `\`${text}\``;
}

/** `{ data: [{ clientId, … }], next }` */
function shape(schema: Schema, depth: number): string {
  const { properties, items, anyOf, oneOf } = schema;
  if (properties !== undefined) {
    if (depth >= DEPTH_MAX) return '{ … }';
    const names = Object.entries(properties).map(([name, inner]) => {
      const optional = schema.required?.includes(name) === true ? '' : '?';
      const below = shape(inner, depth + 1);
      return /^[{[]/.test(below) && below !== '{}' ? `${name}${optional}: ${below}` : `${name}${optional}`;
    });
    return names.length === 0 ? '{}' : `{ ${names.join(', ')} }`;
  }
  if (items !== undefined) return `[${/^[{[]/.test(shape(items, depth)) ? shape(items, depth) : ''}]`;
  const choices = anyOf ?? oneOf;
  if (choices !== undefined) return choices.map((one) => shape(one, depth)).find((text) => /^[{[]/.test(text)) ?? typeText(schema);
  return typeText(schema);
}

/** The members of a body as a table. */
function members(schema: Schema): string {
  const rows: string[][] = [];
  collect(schema, '', 0, rows);
  return rows.length === 0 ? `${valueText(schema)}.` : table(['member', 'value', ''], rows);
}

function collect(schema: Schema, lead: string, depth: number, rows: string[][]): void {
  if (depth > DEPTH_MAX) return;
  for (const [name, inner] of Object.entries(schema.properties ?? {})) {
    const needed = schema.required?.includes(name) === true ? ', needed' : '';
    rows.push([`\`${lead}${name}\``, `${valueText(inner)}${needed}`, described(inner, '')]);
    collect(inner, `${lead}${name}.`, depth + 1, rows);
    if (inner.items !== undefined) collect(inner.items, `${lead}${name}[].`, depth + 1, rows);
  }
  if (schema.items !== undefined && lead === '') collect(schema.items, '[].', depth + 1, rows);
  for (const choice of [...(schema.anyOf ?? []), ...(schema.oneOf ?? []), ...(schema.allOf ?? [])]) collect(choice, lead, depth + 1, rows);
}

function described({ description }: Schema, otherwise: string): string {
  return description ?? otherwise;
}

/** A value in words: its type and its limits. */
function valueText(schema: Schema): string {
  const facts = [typeText(schema)];
  const { minimum, maximum, minLength, maxLength, maxItems } = schema;
  const from = minimum === undefined || minimum <= -LARGEST ? undefined : minimum;
  const to = maximum === undefined || maximum >= LARGEST ? undefined : maximum;
  if (from !== undefined && to !== undefined) facts.push(`${from} to ${to}`);
  else if (from !== undefined) facts.push(`from ${from}`);
  else if (to !== undefined) facts.push(`to ${to}`);
  if (maxLength !== undefined) facts.push(`${minLength ?? 0} to ${maxLength} characters`);
  if (maxItems !== undefined) facts.push(`at most ${maxItems}`);
  if (schema.default !== undefined) facts.push(`default \`${JSON.stringify(schema.default)}\``);
  return facts.filter((text) => text !== '').join(', ');
}

function typeText(schema: Schema): string {
  const { type, format, items } = schema;
  if (schema.enum !== undefined) return schema.enum.map((one) => `\`${String(one)}\``).join(' · ');
  if (schema.const !== undefined) return `\`${String(schema.const)}\``;
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices !== undefined) return [...new Set(choices.map(typeText))].filter((text) => text !== '').join(' or ');
  if (format === 'date-time') return 'time';
  if (Array.isArray(type)) return type.join(' or ');
  if (type === 'array') return items === undefined ? 'list' : `list of ${typeText(items) || 'values'}`;
  if (type === 'string') return 'text';
  if (type === 'integer') return 'whole number';
  if (type === 'boolean') return '`true` · `false`';
  return (type as string | undefined) ?? '';
}

/** A command line that calls the route with its example. */
function curl(one: Route): string {
  const { example, method, body } = one;
  const params = (example?.params ?? {}) as Readonly<Record<string, unknown>>;
  const path = one.path.replace(/\{(\w+)(\.\.\.)?\}/g, (whole, name: string, rest: string | undefined) => {
    if (params[name] === undefined) return whole;
    const text = encodeURIComponent(String(params[name]));
    return rest === undefined ? text : text.replaceAll('%2F', '/');
  });
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(example?.query ?? {}))
    for (const item of Array.isArray(value) ? value : [value]) query.append(name, String(item));
  const asked = query.size === 0 ? '' : `?${query}`;
  const words = ['curl'];
  if (method !== 'GET') words.push('-X', method);
  if (one.role !== null) words.push('-H', '"Authorization: Bearer $ONEHOP_API_KEY"');
  words.push(`"$ONEHOP_URL${path}${asked}"`);
  if (body === 'bytes') words.push('\\\n  --data-binary', quoted(example?.body === undefined ? 'hello' : String(example.body)));
  else if (body !== null) words.push("\\\n  -H 'Content-Type: application/json'", '--data', quoted(JSON.stringify(example?.body ?? {})));
  return words.join(' ');
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Schema {
  return z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as Schema;
}
