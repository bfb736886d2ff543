/**
 * Charts over time, drawn by uPlot. Their newest values stand beside them as text, for whoever does not see the picture.
 */
import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import { short } from '../format.ts';
import { isDark } from '../theme.ts';

export interface Series {
  readonly label: string;
  readonly values: readonly (number | null)[];
}

interface ChartFacts {
  readonly title: string;
  /** Of the values, behind them. */
  readonly unit: string;
  /** Epoch seconds. */
  readonly times: readonly number[];
  readonly series: readonly Series[];
  readonly max?: number;
}

const HEIGHT = 180;
const COLORS = 8;
const SPAN_SECONDS_MIN = 10;

const CLOCK = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });

/** 17:05, and seconds where the mark is not a whole minute. */
function clock(epochSeconds: number): string {
  const text = CLOCK.format(epochSeconds * 1000);
  return epochSeconds % 60 === 0 ? text.slice(0, 5) : text;
}

/** The colour of a series, as the style sheet has it for this theme. */
function color(index: number): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--series-${(index % COLORS) + 1}`);
}

/** From the first to the last moment: a while even where there is one, or none yet, of which uPlot itself would make a whole day. */
function span({ data: [times] }: uPlot): [number, number] {
  const end = times.at(-1) ?? Date.now() / 1000;
  return [Math.min(times[0] ?? end, end - SPAN_SECONDS_MIN), end];
}

/** Values without another beside them, which no line shows: they are drawn as points. */
function alone(plot: uPlot, series: number): number[] {
  const values = plot.data[series]!;
  const isThere = (index: number): boolean => values[index] !== null && values[index] !== undefined;
  return [...values.keys()].filter((index) => isThere(index) && !isThere(index - 1) && !isThere(index + 1));
}

function axis(): uPlot.Axis {
  const style = getComputedStyle(document.documentElement);
  const grid = { stroke: style.getPropertyValue('--chart-grid'), width: 1 };
  return { stroke: style.getPropertyValue('--chart-text'), grid, ticks: grid };
}

export function Chart({ title, unit, times, series, max }: ChartFacts): VNode {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const dark = isDark.value;
  const names = series.map(({ label }) => label).join('|');
  const data = [times, ...series.map(({ values }) => values)] as unknown as uPlot.AlignedData;
  const newest = useRef(data);
  newest.current = data;
  useEffect(() => {
    const element = box.current!;
    const options: uPlot.Options = {
      width: Math.max(200, element.clientWidth),
      height: HEIGHT,
      legend: { show: false },
      cursor: { y: false, drag: { setScale: false } },
      scales: {
        x: { range: span },
        y: { range: (_plot, _low, high) => [0, max ?? Math.max(1, high * 1.1)] },
      },
      axes: [
        { ...axis(), values: (_plot, ticks) => ticks.map(clock) },
        { ...axis(), size: 52, values: (_plot, ticks) => ticks.map((value) => short(value)) },
      ],
      series: [{}, ...names.split('|').map((label, index) => ({ label, stroke: color(index), width: 1.5, points: { filter: alone } }))],
    };
    const made = new uPlot(options, newest.current, element);
    plot.current = made;
    const resized = new ResizeObserver(() => made.setSize({ width: Math.max(200, element.clientWidth), height: HEIGHT }));
    resized.observe(element);
    return () => {
      resized.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [names, dark, max]);
  useEffect(() => {
    plot.current?.setData(newest.current);
  });
  return (
    <figure class="chart">
      <figcaption>
        <strong>{title}</strong>
        <ul class="legend">
          {series.map(({ label, values }, index) => (
            <li key={label} class={`series-${(index % COLORS) + 1}`}>
              {label}: {short(values.at(-1))} {unit}
            </li>
          ))}
        </ul>
      </figcaption>
      <div ref={box} role="img" aria-label={`${title}: a chart of the values that are named above`} />
    </figure>
  );
}
