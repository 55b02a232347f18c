// Figures of the benchmark, as a table and as JSON.

export interface Figure {
  /** Number of the row in the list of what is asked. */
  row: number
  figure: string
  /** null: nothing is asked, it is told for the picture. */
  asked: number | null
  measured: number
  unit: string
  isMet: boolean
}

/** A figure of which less is better. */
export function figure(row: number, name: string, asked: number | null, measured: number, unit: string): Figure {
  return { row, figure: name, asked, measured: round(measured), unit, isMet: asked === null || measured <= asked }
}

function round(value: number): number {
  return Number(value.toPrecision(3))
}

/** The value that a share of the values does not exceed. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0
}

/** The table, with a mark at what is not met. */
export function table(figures: readonly Figure[]): string {
  const cells = figures.map(({ row, figure, asked, measured, unit, isMet }) => [
    `${row}`,
    figure,
    asked === null ? '' : `≤ ${asked} ${unit}`.trimEnd(),
    `${measured} ${unit}`.trimEnd(),
    asked === null ? '' : isMet ? 'yes' : 'NO',
  ])
  const head = ['', 'figure', 'asked', 'measured', 'met']
  const widths = head.map((title, column) => Math.max(title.length, ...cells.map((row) => row[column]!.length)))
  return [head, ...cells]
    .map((row) =>
      row
        .map((cell, at) => cell.padEnd(widths[at]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
