// `npm run fuzz`: compares the HTTP/1.1 engine with Node's own parser (llhttp, strict) on made-up streams, until it finds
// a difference or is stopped.

import { Command, InvalidArgumentError } from 'commander'
import { fuzz, tryOne } from './fuzz.ts'

const number = (text: string): number => {
  const value = Number(text)
  if (!(value >= 0)) throw new InvalidArgumentError('a number is needed.')
  return value
}

const options = new Command('fuzz')
  .description('Differential fuzzing of the HTTP/1.1 engine against llhttp.')
  .option('--seconds <n>', 'how long; without it, until it is stopped', number, Number.POSITIVE_INFINITY)
  .option('--seed <n>', 'where to begin', number, Date.now() % 1_000_000_000)
  .option('--only', 'try the seed alone: to see a finding again', false)
  .parse()
  .opts<{ seconds: number; seed: number; only: boolean }>()

const { streams, finding } = options.only
  ? { streams: 1, finding: tryOne(options.seed) }
  : fuzz(options.seed, options.seconds, (done) => process.stderr.write(`\r${done} streams`))
process.stderr.write(`\r${streams} streams from seed ${options.seed}\n`)
if (finding !== null) {
  const kind = finding.method === null ? 'requests' : `response to ${finding.method}`
  process.stdout.write(
    `${kind} (--seed ${finding.seed} --only)\n${JSON.stringify(finding.stream)}\n${finding.difference}\n`,
  )
  process.exitCode = 1
}
