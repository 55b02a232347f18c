// Completion: the shells and kubectl ask this tool itself for the words that may follow, so that they always agree with the
// commands. kubectl asks as cobra's programs are asked: `value<tab>about` lines, then a directive.

import { type Command, InvalidArgumentError, type Option } from 'commander'
import type { Context } from './context.ts'

export const shells = ['bash', 'zsh', 'fish'] as const

interface Word {
  value: string
  about: string
}

/** Cobra's directive that no file names follow. */
const noFiles = ':4'
/** Options whose value is a file: the shell knows more of these than we do. */
const fileOptions = ['--kubeconfig', '--filename', '--overlay']

/**
 * The words that may stand at the end of a command line.
 * @param words what was typed behind the program's name; the last one is to be completed
 */
export function wordsFor(program: Command, words: readonly string[]): Word[] | 'files' {
  const last = words.at(-1) ?? ''
  let command = program
  let options: Option[] = [...program.options]
  let wanted: Option | undefined
  for (const word of words.slice(0, -1)) {
    if (wanted !== undefined) wanted = undefined
    else if (word.startsWith('-')) wanted = word.includes('=') ? undefined : takingValue(options, word)
    else {
      const next = command.commands.find((each) => each.name() === word)
      if (next === undefined) continue
      command = next
      options = [...options, ...next.options]
    }
  }
  if (wanted !== undefined) {
    if (fileOptions.includes(wanted.long ?? '')) return 'files'
    return starting(
      last,
      (wanted.argChoices ?? []).map((value) => ({ value, about: '' })),
    )
  }
  if (last.startsWith('-')) {
    const flags = options.flatMap(({ long, description, hidden }) =>
      long && !hidden ? [{ value: long, about: description }] : [],
    )
    return starting(last, flags)
  }
  const commands = command.commands.map((each) => ({ value: each.name(), about: each.description() }))
  const choices = command.registeredArguments.flatMap(({ argChoices = [] }) => argChoices)
  return starting(last, [...commands, ...choices.map((value) => ({ value, about: '' }))])
}

function takingValue(options: readonly Option[], word: string): Option | undefined {
  return options.find((each) => (each.long === word || each.short === word) && (each.required || each.optional))
}

function starting(last: string, words: Word[]): Word[] {
  return words.filter(({ value }) => value.startsWith(last))
}

/** What the scripts below ask with, before the words. */
export const completeCommand = '__complete'

/** The answer to those, and to kubectl, which runs `kubectl_complete-weft` with the words alone. */
export function answerCompletion(program: Command, words: readonly string[]): string {
  const found = wordsFor(program, words)
  if (found === 'files') return ':0\n'
  return [...found.map(({ value, about }) => `${value}\t${about}`), noFiles, ''].join('\n')
}

/** Adds `completion`. */
export function addCompletion({ program, print }: Context): void {
  program
    .command('completion')
    .description('print a completion script for a shell')
    .addArgument(
      program
        .createArgument('<shell>', shells.join(', '))
        .choices(shells)
        .argParser((text: string) => {
          const shell = shells.find((each) => each === text)
          if (shell === undefined) throw new InvalidArgumentError(`It must be one of ${shells.join(', ')}.`)
          return shell
        }),
    )
    .addHelpText(
      'after',
      `
  bash   source <(weft completion bash)
  zsh    source <(weft completion zsh)
  fish   weft completion fish | source

kubectl completes \`kubectl weft\` by itself where kubectl_complete-weft, which comes with this tool, is on the PATH.
`,
    )
    .action((shell: (typeof shells)[number]) => print(scripts[shell]))
}

const bash = `_weft() {
  local words
  words="$(weft __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)"
  case "\${words##*$'\\n'}" in :0) return ;; esac
  COMPREPLY=($(compgen -W "$(printf '%s\\n' "$words" | sed '$d' | cut -f1)" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _weft weft
`

const scripts: Record<(typeof shells)[number], string> = {
  bash,
  zsh: `autoload -U +X bashcompinit && bashcompinit\n${bash}`,
  fish: `function __weft_words
  set -l words (commandline -opc) (commandline -ct)
  weft __complete $words[2..-1] 2>/dev/null | string match -v -r '^:\\d+$'
end
complete -c weft -a '(__weft_words)'
`,
}
