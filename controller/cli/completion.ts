// Completion scripts for shells, made from the commands themselves.

import type { Command } from 'commander'

export const shells = ['bash', 'zsh', 'fish'] as const

/** The script that `source <(weft completion …)` reads. */
export function completionOf(program: Command, shell: (typeof shells)[number]): string {
  const commands = program.commands.map((command) => ({
    name: command.name(),
    about: command.description(),
    flags: [...program.options, ...command.options].flatMap(({ long }) => (long ? [long] : [])),
  }))
  return shell === 'fish'
    ? forFish(commands)
    : `${shell === 'zsh' ? 'autoload -U +X bashcompinit && bashcompinit\n' : ''}${forBash(commands)}`
}

interface Shown {
  name: string
  about: string
  flags: string[]
}

function forBash(commands: Shown[]): string {
  const cases = commands.map(({ name, flags }) => `    ${name}) words="${flags.join(' ')}" ;;`)
  return `_weft() {
  local word="\${COMP_WORDS[COMP_CWORD]}" words=""
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then words="${commands.map(({ name }) => name).join(' ')}"; fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _weft weft
`
}

function forFish(commands: Shown[]): string {
  const lines = commands.flatMap(({ name, about, flags }) => [
    `complete -c weft -n __fish_use_subcommand -a ${name} -d '${about.replaceAll("'", '')}'`,
    ...flags.map((flag) => `complete -c weft -n '__fish_seen_subcommand_from ${name}' -l ${flag.slice(2)}`),
  ])
  return `${lines.join('\n')}\n`
}
