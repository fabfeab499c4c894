// Draws one dashboard with Grafana's own components over the numbers that draw.mjs put into the page.
import React from 'react';
import { createRoot } from 'react-dom/client';
import {
  applyFieldOverrides, createTheme, DataFrame, FieldConfigSource, FieldType, getDisplayProcessor, LoadingState,
  standardFieldConfigEditorRegistry, toDataFrame, FieldConfigOptionsRegistry, identityOverrideProcessor, getFieldDisplayName,
} from '@grafana/data';
import { BigValue, PanelChrome, TimeSeries, BigValueColorMode, BigValueGraphMode } from '@grafana/ui';
import { GraphDrawStyle, LegendDisplayMode, LineInterpolation, StackingMode, VisibilityMode } from '@grafana/schema';

type Series = { metric: Record<string, string>; values: [number, string][] };
type Panel = any;
declare const PICTURE: {
  dashboard: { title: string; panels: Panel[] };
  results: Record<string, Series[][]>;
  start: number; end: number; step: number; width: number; row: number;
};

const theme = createTheme({ colors: { mode: 'dark' } });
const GAP = 8;

// The options that Grafana's core registers; without them, overrides and defaults are ignored.
const names: Record<string, string> = {
  unit: 'unit', min: 'min', max: 'max', decimals: 'decimals', thresholds: 'thresholds', mappings: 'mappings',
  color: 'color', noValue: 'noValue', displayName: 'displayName',
};
const options = Object.entries(names).map(([id, path]) => ({
  id, path, name: id, isCustom: false, editor: () => null, override: () => null,
  process: identityOverrideProcessor, shouldApply: () => true, defaultValue: undefined,
}));
standardFieldConfigEditorRegistry.setInit(() => options as any);
const registry = new FieldConfigOptionsRegistry(() => options as any);

function legend(format: string, labels: Record<string, string>): string {
  return format.replace(/\{\{(\w+)\}\}/g, (_, name) => labels[name] ?? '');
}

function frames(panel: Panel): DataFrame[] {
  const found: DataFrame[] = [];
  panel.targets.forEach((target: any, number: number) => {
    for (const series of PICTURE.results[panel.id][number]) {
      const at = new Map(series.values.map(([time, value]) => [Math.round(time), Number(value)]));
      const times: number[] = [];
      const values: (number | null)[] = [];
      for (let time = PICTURE.start; time <= PICTURE.end; time += PICTURE.step) {
        const value = at.get(time);
        times.push(time * 1000);
        values.push(value === undefined || Number.isNaN(value) ? null : value);
      }
      const name = legend(target.legendFormat, series.metric) || 'Value';
      found.push(toDataFrame({
        refId: target.refId,
        fields: [
          { name: 'Time', type: FieldType.time, values: times, config: {} },
          { name, type: FieldType.number, values, config: {}, labels: {} },
        ],
      }));
    }
  });
  return ready(panel, found);
}

function ready(panel: Panel, data: DataFrame[]): DataFrame[] {
  const custom = {
    drawStyle: GraphDrawStyle.Line, lineInterpolation: LineInterpolation.Linear, lineWidth: 1, fillOpacity: 0,
    showPoints: VisibilityMode.Never, spanNulls: true, stacking: { mode: StackingMode.None, group: 'A' },
    axisPlacement: 'auto', scaleDistribution: { type: 'linear' }, hideFrom: { legend: false, tooltip: false, viz: false },
    ...panel.fieldConfig.defaults.custom,
  };
  const fieldConfig: FieldConfigSource = {
    defaults: { color: { mode: panel.type === 'stat' ? 'thresholds' : 'palette-classic' as any }, ...panel.fieldConfig.defaults, custom },
    overrides: panel.fieldConfig.overrides,
  };
  const done = applyFieldOverrides({
    data, fieldConfig, theme, replaceVariables: (text) => text, fieldConfigRegistry: registry, timeZone: 'utc',
  });
  let index = 0;
  for (const frame of done) {
    for (const field of frame.fields) {
      if (field.type === FieldType.number) {
        field.config = { ...field.config, custom: { ...custom, ...field.config.custom } };
        field.state = { ...field.state, seriesIndex: index++ };
        field.state.displayName = undefined;
        field.display = getDisplayProcessor({ field, theme, timeZone: 'utc' });
        getFieldDisplayName(field, frame, done);
      }
    }
  }
  return done;
}

function Stat({ panel, width, height }: { panel: Panel; width: number; height: number }) {
  const [frame] = frames(panel);
  if (!frame) { return <div>{panel.fieldConfig.defaults.noValue}</div>; }
  const field = frame.fields[1];
  const last = [...field.values].reverse().find((value) => value !== null) ?? null;
  const value = { ...field.display!(last), title: '' };
  return <BigValue theme={theme} width={width} height={height} value={value} text={{ valueSize: 28 }}
    colorMode={BigValueColorMode.Value}
    graphMode={panel.options.graphMode === 'area' ? BigValueGraphMode.Area : BigValueGraphMode.None}
    sparkline={{ y: field, x: frame.fields[0] }} />;
}

function Lines({ panel, width, height }: { panel: Panel; width: number; height: number }) {
  const data = frames(panel);
  if (!data.length) { return <div>No data</div>; }
  const shown = panel.options.legend;
  return <TimeSeries width={width} height={height} frames={data} timeZone="utc"
    timeRange={{ from: moment(PICTURE.start), to: moment(PICTURE.end), raw: { from: 'now', to: 'now' } } as any}
    legend={{ showLegend: true, displayMode: LegendDisplayMode.List, placement: shown.placement, calcs: [] } as any}
    options={{}} />;
}

function moment(seconds: number) { return { valueOf: () => seconds * 1000 }; }

// Stands in for the panel plugin "heatmap", which is in Grafana's core and in no package.
function Heat({ panel, width, height }: { panel: Panel; width: number; height: number }) {
  const rows = PICTURE.results[panel.id][0]
    .map((series) => ({ le: Number(series.metric.le.replace('+Inf', 'Infinity')), at: new Map(series.values.map(([time, value]) => [Math.round(time), Number(value)])) }))
    .sort((one, other) => one.le - other.le);
  const times: number[] = [];
  for (let time = PICTURE.start; time <= PICTURE.end; time += PICTURE.step) { times.push(time); }
  const cells = rows.map((row, index) => times.map((time) => (row.at.get(time) ?? 0) - (index ? rows[index - 1].at.get(time) ?? 0 : 0)));
  const used = rows.map((_, index) => index).filter((index) => cells[index].some((value) => value > 1e-9));
  if (!used.length) { return <div>No data</div>; }
  const first = Math.max(0, used[0] - 1), last = Math.min(rows.length - 1, used[used.length - 1] + 1);
  const most = Math.max(...cells.flat());
  const left = 52, bottom = 22, cellWidth = (width - left) / times.length, cellHeight = (height - bottom) / (last - first + 1);
  const unit = getDisplayProcessor({ field: { type: FieldType.number, config: { unit: panel.fieldConfig.defaults.unit } } as any, theme });
  const label = (value: number) => { const shown = unit(value); return Number.isFinite(value) ? `${shown.text}${shown.suffix ?? ''}` : '+Inf'; };
  const turbo = (value: number) => { const x = Math.pow(Math.max(0, value) / most, 0.5); return `hsl(${(1 - x) * 240}, 75%, ${30 + 25 * x}%)`; };
  const text = { fill: theme.colors.text.primary, fontSize: 12, fontFamily: theme.typography.fontFamily };
  const at = (time: number) => new Date(time * 1000).toISOString().slice(11, 16);
  return <svg width={width} height={height}>
    {cells.slice(first, last + 1).map((row, up) => row.map((value, x) => value > 1e-9 &&
      <rect key={`${up} ${x}`} x={left + x * cellWidth} y={height - bottom - (up + 1) * cellHeight} width={cellWidth} height={Math.max(1, cellHeight - 1)} fill={turbo(value)} />))}
    {rows.slice(first, last + 1).map((row, up) => (last - first < 9 || up % 2 === 0) &&
      <text key={up} x={left - 6} y={height - bottom - (up + 1) * cellHeight + 10} textAnchor="end" {...text}>{label(row.le)}</text>)}
    {[0.1, 0.3, 0.5, 0.7, 0.9].map((part) => { const time = PICTURE.start + part * (PICTURE.end - PICTURE.start);
      return <text key={part} x={left + part * (width - left)} y={height - 4} textAnchor="middle" {...text}>{at(time)}</text>; })}
  </svg>;
}

// Stands in for the panel plugin "table".
function Rows({ panel, width, height }: { panel: Panel; width: number; height: number }) {
  const order: Record<string, number> = panel.transformations.at(-1).options.indexByName;
  const renamed: Record<string, string> = panel.transformations.at(-1).options.renameByName;
  const values = Object.keys(renamed), labels = Object.keys(order).filter((name) => !values.includes(name));
  const merged = new Map<string, { labels: Record<string, string>; values: (number | null)[] }>();
  PICTURE.results[panel.id].forEach((result, number) => result.forEach((series) => {
    const key = labels.map((name) => series.metric[name]).join('\n');
    const line = merged.get(key) ?? { labels: series.metric, values: values.map(() => null) };
    line.values[number] = Number(series.values.at(-1)![1]);
    merged.set(key, line);
  }));
  const lines = [...merged.values()].sort((one, other) => (other.values[0] ?? 0) - (one.values[0] ?? 0));
  const units = new Map<string, string>(panel.fieldConfig.overrides.map((override: any) => [override.matcher.options, override.properties[0].value]));
  const shown = values.map((name) => getDisplayProcessor({
    field: { type: FieldType.number, config: { unit: units.get(renamed[name]) ?? panel.fieldConfig.defaults.unit, decimals: units.has(renamed[name]) ? 2 : 0 } } as any, theme,
  }));
  const cell = { padding: '5px 10px', borderBottom: `1px solid ${theme.colors.border.weak}`, fontSize: 13, textAlign: 'left' as const };
  const number = { ...cell, textAlign: 'right' as const };
  return <div style={{ width, height, overflow: 'hidden' }}><table style={{ width: '100%', borderCollapse: 'collapse' }}>
    <thead><tr>
      {labels.map((name) => <th key={name} style={{ ...cell, fontWeight: 500 }}>{name}</th>)}
      {values.map((name) => <th key={name} style={{ ...number, fontWeight: 500 }}>{renamed[name]}</th>)}
    </tr></thead>
    <tbody>{lines.map((line, key) => <tr key={key}>
      {labels.map((name) => <td key={name} style={cell}>{line.labels[name]}</td>)}
      {values.map((name, column) => { const value = shown[column](line.values[column]);
        return <td key={name} style={number}>{`${value.prefix ?? ''}${value.text}${value.suffix ?? ''}`}</td>; })}
    </tr>)}</tbody>
  </table></div>;
}

// "state-timeline" is in Grafana's core and in no package either: its states are drawn as lines.
const KINDS: Record<string, typeof Stat> = {
  stat: Stat, timeseries: Lines, heatmap: Heat, table: Rows, 'state-timeline': Lines,
};

class Guard extends React.Component<{ children: React.ReactNode }, { error?: Error }> {
  state: { error?: Error } = {};
  static getDerivedStateFromError(error: Error) { return { error }; }
  render() { return this.state.error ? <pre>{String(this.state.error.stack).slice(0, 400)}</pre> : this.props.children; }
}

function Picture() {
  const column = (PICTURE.width - GAP) / 24;
  return <div style={{ fontFamily: theme.typography.fontFamily, color: theme.colors.text.primary, fontSize: 14 }}>
    <div style={{ padding: '10px 12px', fontSize: 18, fontWeight: 500 }}>{PICTURE.dashboard.title}</div>
    <div style={{ position: 'relative' }}>
      {PICTURE.dashboard.panels.map((panel) => {
        const { x, y, w, h } = panel.gridPos;
        const width = Math.floor(w * column - GAP), height = h * PICTURE.row - GAP;
        const Kind = KINDS[panel.type];
        return <div key={panel.id} style={{ position: 'absolute', left: GAP + x * column, top: y * PICTURE.row }}>
          {Kind ? <PanelChrome title={panel.title} width={width} height={height} loadingState={LoadingState.Done}>
            {(innerWidth, innerHeight) => <Guard><Kind panel={panel} width={innerWidth} height={innerHeight} /></Guard>}
          </PanelChrome> : <div style={{ padding: 8, fontSize: 16 }}>{panel.title}</div>}
        </div>;
      })}
    </div>
  </div>;
}

createRoot(document.getElementById('root')!).render(<Picture />);
