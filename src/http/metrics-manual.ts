/**
 * The list of metrics in the manual, written from the table that serves them. Nothing here runs in a broker.
 */
import { allMetrics, type MetricKind } from './metrics-text.ts';

const TITLES: readonly (readonly [kind: MetricKind, title: string])[] = [
  ['gauge', 'Gauges'],
  ['counter', 'Counters'],
  ['histogram', 'Histograms'],
];

/** Tables in Markdown. */
export function metricsList(): string {
  const metrics = allMetrics();
  return TITLES.map(([kind, title]) => {
    const rows = metrics
      .filter((metric) => metric.kind === kind)
      .map(({ name, labels, help }) => `| \`${name}\` | ${labels.map((label) => `\`${label}\``).join(', ')} | ${help} |`);
    return `### ${title}\n\n| metric | labels | meaning |\n| --- | --- | --- |\n${rows.join('\n')}\n\n`;
  }).join('');
}
