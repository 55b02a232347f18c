// What a check is: one line under a heading, with the cause and the fix if something is not as it should be.

export interface Check {
  category: string
  status: 'ok' | 'warning' | 'error'
  /** What is checked, and what was found if it is not as it should be. */
  text: string
  /** What to do; empty if nothing. */
  hint: string
}

/**
 * Makes a check.
 * @param text what should be true
 * @param found what is, if it is not so; empty: it is as it should be
 */
export function check(
  category: string,
  text: string,
  found: string,
  hint = '',
  severity: 'warning' | 'error' = 'error',
): Check {
  if (found === '') return { category, status: 'ok', text, hint: '' }
  return { category, status: severity, text: `${text}: ${found}`, hint }
}

/** The first few of a list, and how many more there are. Empty for an empty list. */
export function shorten(items: readonly string[], most = 5): string {
  const shown = items.slice(0, most).join(', ')
  return items.length > most ? `${shown} and ${items.length - most} more` : shown
}
