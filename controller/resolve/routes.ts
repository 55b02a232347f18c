// TCPRoutes and UDPRoutes: lists of pod ports. Old versions have none and mean every port; a list that can't be read means
// no port at all.

import { keyOf, refOf, type SmiObject } from '../observe/objects.ts'
import { Problems, quote } from './problem.ts'
import { findField, isFields, readPort, reportIgnored } from './shape.ts'
import type { PortRouteNode } from './topology.ts'

/** Reads a TCPRoute or UDPRoute. */
export function readPortRoute(object: SmiObject, kind: PortRouteNode['kind']): PortRouteNode {
  const problems = new Problems(refOf(object))
  const found = findField(object, 'matches')
  reportIgnored(object, problems, 'matches')
  return {
    kind,
    key: keyOf(object),
    ref: problems.object,
    ports: readPorts(found.value, found.path, problems),
    problems: problems.list,
  }
}

function readPorts(matches: unknown, path: string, problems: Problems): number[] | null {
  if (matches === undefined) return null
  // One map by the specification; a list of them is what HTTPRouteGroup has, and is written by habit.
  const entries: unknown[] = Array.isArray(matches) ? matches : [matches]
  const ports = new Set<number>()
  for (const [index, entry] of entries.entries()) {
    const at = Array.isArray(matches) ? `${path}[${index}]` : path
    if (!isFields(entry)) {
      problems.error('SpecInvalid', at, 'must be a map with a list `ports`; it permits no port')
      continue
    }
    const list = entry['ports'] ?? []
    if (!Array.isArray(list)) {
      problems.error('PortInvalid', `${at}.ports`, 'must be a list of port numbers; it permits no port')
      continue
    }
    if (list.length === 0) return null
    for (const [position, value] of list.entries()) {
      const port = readPort(value)
      if (port !== null) ports.add(port)
      else problems.error('PortInvalid', `${at}.ports[${position}]`, `${quote(value)} is not a port from 1 to 65535`)
    }
  }
  return [...ports].sort((a, b) => a - b)
}
