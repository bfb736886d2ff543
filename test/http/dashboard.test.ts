/**
 * The dashboard and the alert rules ask for metrics that are there, with labels that they have, in queries that the parser of Prometheus takes.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { parser } from '@prometheus-io/lezer-promql';
import { parse as parseYaml } from 'yaml';
import { allMetrics } from '../../src/http/metrics-text.ts';

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly h: number; readonly w: number; readonly x: number; readonly y: number };
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string; readonly refId: string }[];
}

/** Labels that Prometheus adds. */
const LABELS_OF_PROMETHEUS = ['instance', 'job'];

const labelsOf = new Map<string, readonly string[]>();
for (const { name, kind, labels } of allMetrics())
  if (kind !== 'histogram') labelsOf.set(name, labels);
  else for (const part of ['bucket', 'sum', 'count']) labelsOf.set(`${name}_${part}`, part === 'bucket' ? [...labels, 'le'] : labels);
labelsOf.set('up', []);

/** What is wrong with a query. */
function problemsOf(query: string): string[] {
  // Grafana's variables stand where a duration or a text is.
  const text = query.replaceAll('$__rate_interval', '1m').replaceAll('$instance', 'x');
  const problems: string[] = [];
  const used = new Set<string>();
  const asked = new Set<string>();
  parser.parse(text).iterate({
    enter: ({ type, from, to }) => {
      const word = text.slice(from, to);
      if (type.isError) problems.push(`not understood near "${text.slice(Math.max(0, from - 20), to + 20)}"`);
      else if (type.name === 'Identifier') used.add(word);
      else if (type.name === 'LabelName') asked.add(word);
    },
  });
  const metrics = [...used].filter((name) => labelsOf.has(name));
  if (metrics.length === 0) problems.push('no metric of ours');
  for (const name of used) if (!labelsOf.has(name)) problems.push(`there is no metric ${name}`);
  const known = [...LABELS_OF_PROMETHEUS, ...metrics.flatMap((name) => labelsOf.get(name)!)];
  for (const label of asked) if (!known.includes(label)) problems.push(`there is no label ${label}`);
  return problems.map((problem) => `${query}: ${problem}`);
}

/** Labels that the result of a query may have: those that it is grouped by, or those of its metric. */
function resultLabels(query: string): readonly string[] {
  const grouped = /\bby \(([^)]*)\)/.exec(query);
  if (grouped !== null) return grouped[1]!.split(',').map((label) => label.trim());
  return [...LABELS_OF_PROMETHEUS, ...[...labelsOf].flatMap(([name, labels]) => (query.includes(`${name}{`) ? labels : []))];
}

describe('queries', () => {
  test('what is wrong would be found', () => {
    assert.deepEqual(problemsOf('sum by (shard) (rate(onehop_publish_received_total[1m]))'), []);
    assert.equal(problemsOf('sum(rate(onehop_publish_recieved_total[1m]))').length, 2);
    assert.equal(problemsOf('sum by (colour) (onehop_sessions)').length, 1);
    assert.notEqual(problemsOf('sum(rate(onehop_sessions[1m])').length, 0);
  });

  test('the dashboard', () => {
    const dashboard = JSON.parse(readFileSync('docs/grafana/onehop.json', 'utf8'));
    assert.equal(dashboard.id, null, 'an import makes its own');
    const variables = dashboard.templating.list.map(({ name }: { name: string }) => name);
    assert.deepEqual(variables, ['datasource', 'instance']);
    const panels = dashboard.panels as readonly Panel[];
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
    assert.ok(panels.length > 30);
    const problems: string[] = [];
    for (const { type, title, targets, gridPos } of panels) {
      assert.ok(gridPos.x + gridPos.w <= 24, title);
      if (type === 'row') continue;
      assert.ok(targets!.length > 0, title);
      for (const { expr, legendFormat } of targets!) {
        problems.push(...problemsOf(expr));
        for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g))
          if (!resultLabels(expr).includes(label!)) problems.push(`${title}: no ${label}`);
      }
    }
    assert.deepEqual(problems, []);
    const places = panels.map(({ gridPos: { x, y } }) => `${x} ${y}`);
    assert.equal(new Set(places).size, places.length, 'no panel lies on another');
  });

  test('the alert rules', () => {
    const { groups } = parseYaml(readFileSync('docs/prometheus/onehop-alerts.yml', 'utf8')) as {
      groups: {
        name: string;
        rules: { alert: string; expr: string; for?: string; labels: { severity: string }; annotations: { summary: string } }[];
      }[];
    };
    const rules = groups.flatMap(({ rules: own }) => own);
    assert.ok(rules.length > 10);
    assert.equal(new Set(rules.map(({ alert }) => alert)).size, rules.length);
    assert.deepEqual(
      rules.flatMap(({ expr }) => problemsOf(expr)),
      [],
    );
    for (const { alert, labels, annotations } of rules) {
      assert.match(alert, /^Onehop[A-Z]\w+$/);
      assert.match(labels.severity, /^(warning|critical)$/);
      assert.notEqual(annotations.summary, '');
    }
  });
});
