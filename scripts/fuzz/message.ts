// A message as a parser understood it: what oracle and engine are compared by.

export interface Message {
  /** Of a request: method and target as sent. Of a response: its status. */
  first: string
  fields: { name: string; value: string }[]
  content: string
  /** The stream's position behind its last byte; -1 while it has not ended. */
  end: number
  /** Whether another message may follow on the connection. */
  isKeepAlive: boolean
  isUpgrade: boolean
  /** As it goes on to the next hop; empty for the oracle. */
  forwarded: string
}

export interface Reading {
  messages: Message[]
  /** Why the parser stopped; empty if it did not. */
  error: string
}

export function newMessage(first: string): Message {
  return { first, fields: [], content: '', end: -1, isKeepAlive: true, isUpgrade: false, forwarded: '' }
}
