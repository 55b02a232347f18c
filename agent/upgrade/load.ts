// Loads http-proxy, which was last touched in 2020: it takes util._extend at load, whose use Node warns of at run time
// (DEP0060). While it loads, and only then, that name stands for Object.assign, which does the same.

import { createRequire } from 'node:module'
import type httpProxy from 'http-proxy'

const require = createRequire(import.meta.url)

/** http-proxy, without its deprecation warning. */
export function loadHttpProxy(): typeof httpProxy {
  const util: { _extend: unknown } = require('node:util')
  const before = util._extend
  util._extend = Object.assign
  try {
    return require('http-proxy')
  } finally {
    util._extend = before
  }
}
