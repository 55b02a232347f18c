// The order of resourceVersions. Kubernetes makes them whole numbers that grow with each write of the cluster; one that is
// not a number is compared with nothing.

const number = /^(0|[1-9]\d*)$/

/** Whether a version comes before another; false where nobody can tell. */
export function isOlder(version: string, than: string): boolean {
  if (!number.test(version) || !number.test(than)) return false
  // They may exceed what a number holds exactly.
  return version.length !== than.length ? version.length < than.length : version < than
}
