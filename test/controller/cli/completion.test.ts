// The words that completion offers, as shells and kubectl ask for them.

import { execFileSync } from 'node:child_process'
import { expect } from 'chai'
import { Command, Option } from 'commander'
import { addCompletion, answerCompletion, wordsFor } from '../../../controller/cli/completion.ts'
import type { Context } from '../../../controller/cli/context.ts'

function programWith(print: (text: string) => void = () => {}): Command {
  const program = new Command('weft').option('--kubeconfig <file>', 'kubeconfig to use').option('-n <name>')
  const dns = program.command('dns').description('names')
  dns.command('install').description('put it in').option('--dry-run', 'only show')
  dns.command('remove').description('take it out')
  program
    .command('check')
    .description('all well?')
    .addOption(new Option('-o, --output <format>', 'how').choices(['text', 'json']))
  addCompletion({ program, print, name: 'weft' } as Context)
  return program
}

const offered = (...words: string[]) => {
  const found = wordsFor(programWith(), words)
  return found === 'files' ? found : found.map(({ value }) => value)
}

describe('completion', () => {
  it('offers commands, and those below them', () => {
    expect(offered('')).to.deep.equal(['dns', 'check', 'completion'])
    expect(offered('c')).to.deep.equal(['check', 'completion'])
    expect(offered('dns', '')).to.deep.equal(['install', 'remove'])
    expect(offered('-n', 'shop', 'dns', 'rem')).to.deep.equal(['remove'])
  })

  it('offers options, their choices, and those of arguments', () => {
    expect(offered('dns', 'install', '--')).to.deep.equal(['--kubeconfig', '--dry-run'])
    expect(offered('check', '--output', '')).to.deep.equal(['text', 'json'])
    expect(offered('check', '-o', 'j')).to.deep.equal(['json'])
    expect(offered('completion', '')).to.deep.equal(['bash', 'zsh', 'fish'])
    expect(offered('check', '--kubeconfig', '')).to.equal('files')
  })

  it('answers kubectl as cobra does', () => {
    expect(answerCompletion(programWith(), ['dns', 'i'])).to.equal('install\tput it in\n:4\n')
    expect(answerCompletion(programWith(), ['--kubeconfig', ''])).to.equal(':0\n')
  })

  it('works in bash', () => {
    let script = ''
    programWith((text) => {
      script = text
    }).parse(['completion', 'bash'], { from: 'user' })
    const fake = `weft() { shift; printf 'install\\tput it in\\nremove\\tx\\n:4\\n'; }`
    const run = `${fake}\n${script}\nCOMP_WORDS=(weft dns re); COMP_CWORD=2; _weft; echo "\${COMPREPLY[@]}"`
    expect(execFileSync('bash', ['-c', run], { encoding: 'utf8' })).to.equal('remove\n')
  })
})
