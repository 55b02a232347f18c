// Makes sure that no process of a pod outlives the start script, not even when that is killed with SIGKILL: a small shell
// knows the process groups and ends them when the pipe to its parent closes.

import { spawn } from 'node:child_process'
import { once } from 'node:events'

export interface Reaper {
  /** Names a process group that must not outlive us. */
  add(group: number): void
  /** The group has ended; its number may soon be another's. */
  remove(group: number): void
  /** Ends what is left, and the reaper. */
  close(): Promise<void>
}

const script = `
trap '' INT TERM HUP
groups=' '
while read -r sign group; do
  case $sign in
    +) groups="$groups$group " ;;
    -) groups="\${groups%% $group *} \${groups#* $group }" ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
for folder in "$@"; do rm -rf -- "$folder"; done
exit 0
`

/**
 * Starts the shell, in a session of its own so that the terminal's Ctrl-C doesn't reach it.
 * @param folders removed after the last process has ended, whatever ended it
 */
export function startReaper(folders: string[] = []): Reaper {
  const shell = spawn('/bin/sh', ['-c', script, 'reaper', ...folders], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  const ended = once(shell, 'exit')
  shell.stdin.on('error', () => {})
  return {
    add: (group) => shell.stdin.write(`+ ${group}\n`),
    remove: (group) => shell.stdin.write(`- ${group}\n`),
    close: async () => {
      shell.stdin.end()
      await ended
    },
  }
}
