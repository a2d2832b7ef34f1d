/* An SMTP client that sends commands line by line. */
import type {Socket} from 'node:net';
import {createInterface} from 'node:readline';

/** The SMTP dialogue on a socket, which the caller owns. */
export class SmtpClient {
	/** Replies, and commands with a leading `> `. */
	readonly transcript: string[] = [];
	readonly #socket: Socket;
	readonly #replies: AsyncIterator<string>;

	constructor(socket: Socket) {
		this.#socket = socket;
		this.#replies = createInterface({input: socket})[Symbol.asyncIterator]();
	}

	/**
	 * Sends a command, and reads the reply.
	 *
	 * @param command - undefined: only reads, as at the start.
	 * @returns the last line of the reply; `end` at the end of the stream.
	 */
	async send(command?: string): Promise<string> {
		if (command !== undefined) {
			this.transcript.push(`> ${command}`);
			this.#socket.write(`${command}\r\n`);
		}

		for (;;) {
			const {value, done} = await this.#replies.next();
			const line = done === true ? 'end' : value;
			this.transcript.push(line);
			if (done === true || line[3] !== '-') {
				return line;
			}
		}
	}
}
