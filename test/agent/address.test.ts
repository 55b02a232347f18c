// Address and port as one text, for both IP families.

import { expect } from 'chai'
import { joinPort, listenOn, splitPort } from '../../agent/address.ts'

describe('agent/address', () => {
  const pairs: [string, string, number][] = [
    ['10.1.2.3:80', '10.1.2.3', 80],
    ['[fd00::3]:65535', 'fd00::3', 65_535],
    ['[::1]:1', '::1', 1],
  ]
  for (const [text, address, port] of pairs) {
    it(`writes and reads ${text}`, () => {
      expect(joinPort(address, port)).to.equal(text)
      expect(splitPort(text)).to.deep.equal({ address, port })
    })
  }

  it('puts no brackets around names', () => expect(joinPort('db.example.com', 5432)).to.equal('db.example.com:5432'))

  for (const text of [
    '',
    '10.1.2.3',
    '10.1.2.3:',
    '10.1.2.3:0',
    '10.1.2.3:65536',
    '10.1.2.256:80',
    '10.1.2:80',
    '[10.1.2.3]:80',
    'fd00::3:80',
    '[fd00::3]',
    '[fd00::3]80',
    '[fd00::3::4]:80',
    '[fe80::1%eth0]:80',
    '[FD00::3]:80',
    'web.shop:80',
    ' [::1]:80',
    '[::1]:80 ',
  ]) {
    it(`reads nothing from ${JSON.stringify(text)}`, () => expect(splitPort(text)).to.equal(null))
  }

  it('listens on one family alone', () => {
    expect(listenOn('fd00::3', 80)).to.deep.equal({ host: 'fd00::3', port: 80, ipv6Only: true })
    expect(listenOn('10.1.2.3', 80)).to.deep.equal({ host: '10.1.2.3', port: 80, ipv6Only: false })
  })
})
