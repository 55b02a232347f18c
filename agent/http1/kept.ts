// What of a request's body has been sent, kept so that it can be sent once more; up to a limit, beyond which the body is
// let go and no further attempt is possible.

export class Kept {
  /** Copies, in order. */
  pieces: Buffer[] = []
  private readonly most: number
  private bytes = 0
  private isOver = false

  /** @param most bytes that are kept at the most */
  constructor(most: number) {
    this.most = most
  }

  /** Whether all of the body so far is here: another attempt can begin with it. */
  get isWhole(): boolean {
    return !this.isOver
  }

  /** Begins with a new request. */
  start(): void {
    this.isOver = false
    this.bytes = 0
    if (this.pieces.length > 0) this.pieces = []
  }

  add(chunk: Buffer, start: number, end: number): void {
    if (this.fits(end - start)) this.pieces.push(Buffer.copyBytesFrom(chunk, start, end - start))
  }

  addText(text: string): void {
    if (this.fits(text.length)) this.pieces.push(Buffer.from(text, 'latin1'))
  }

  /** No further attempt will be made. */
  drop(): void {
    this.isOver = true
    if (this.pieces.length > 0) this.pieces = []
  }

  private fits(count: number): boolean {
    if (this.isOver) return false
    this.bytes += count
    if (this.bytes <= this.most) return true
    this.drop()
    return false
  }
}
