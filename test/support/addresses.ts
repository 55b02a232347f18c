// Loopback addresses for what listens on fixed ports: no two of this process are the same, and those of two processes that
// run at the same time are not either. Local meshes have lower ones (see localmesh.ts).

/** Second octets 148 to 247. */
const prefix = `127.${148 + (process.pid % 100)}`
/** Third octets: single addresses below, whole networks from here on. */
const firstNetwork = 128
let addresses = 0
let networks = 0

/** @returns an address of its own */
export function ownAddress(): string {
  const number = addresses++
  return `${prefix}.${1 + (Math.floor(number / 250) % (firstNetwork - 1))}.${1 + (number % 250)}`
}

/** @returns the first three octets of addresses of its own; given again only after 127 others */
export function ownNetwork(): string {
  return `${prefix}.${firstNetwork + (networks++ % (255 - firstNetwork))}`
}
