/*++
/* NAME
/*	inject 3
/* SUMMARY
/*	submit messages by SMTP, in parallel streams
/* DESCRIPTION
/*	One connection per stream; a stream takes the next message when it
/*	is done with one. The sandbox is fed this way because sendmail(1)
/*	and postdrop(1) accept only configuration directories that the
/*	host's own main.cf names, and that is not ours to change.
/* DIAGNOSTICS
/*	Error: the server refused something, or went away.
/*--*/

import {once} from 'node:events';
import {connect, type Socket} from 'node:net';
import {createInterface} from 'node:readline';

/** A message to submit. */
export interface Outgoing {
	readonly from: string;
	readonly to: string;
	/** Lines end in LF; lines of any length, without NUL. */
	readonly text: string | Buffer;
}

/**
 * Submits messages; done when the server has taken all of them.
 *
 * @param port - on 127.0.0.1.
 * @param streams - number of connections.
 * @param onTaken - called after each message.
 */
export async function inject(
	port: number,
	messages: Iterable<Outgoing>,
	streams: number,
	onTaken: () => void = () => undefined,
): Promise<void> {
	const queue = messages[Symbol.iterator]();
	await Promise.all(Array.from({length: streams}, () => stream(port, queue, onTaken)));
}

async function stream(port: number, queue: Iterator<Outgoing>, onTaken: () => void): Promise<void> {
	const socket = connect(port, '127.0.0.1');
	try {
		await once(socket, 'connect');
		/* Or a message waits until the server has acknowledged what came before, 40 milliseconds later. */
		socket.setNoDelay();
		const replies = createInterface({input: socket, crlfDelay: Infinity})[Symbol.asyncIterator]();
		const expect = async (code: string): Promise<void> => {
			for (;;) {
				const {value, done} = await replies.next();
				if (done === true) {
					throw new Error('the server of the sandbox closed the connection');
				}

				if (value[3] !== '-') {
					if (!value.startsWith(code)) {
						throw new Error(`the server of the sandbox said: ${value}`);
					}

					return;
				}
			}
		};
		await expect('220');
		await send(socket, 'EHLO localhost\r\n');
		await expect('250');
		for (let next = queue.next(); next.done !== true; next = queue.next()) {
			const {from, to, text} = next.value;
			await send(socket, `MAIL FROM:<${from}>\r\nRCPT TO:<${to}>\r\nDATA\r\n`);
			await expect('250');
			await expect('250');
			await expect('354');
			await send(socket, stuffed(text));
			await send(socket, '.\r\n');
			await expect('250');
			onTaken();
		}

		await send(socket, 'QUIT\r\n');
		await expect('221');
	} finally {
		socket.destroy();
	}
}

async function send(socket: Socket, data: string | Buffer): Promise<void> {
	if (!socket.write(data)) {
		await once(socket, 'drain');
	}
}

/* Source: RFC 5321 section 4.5.2. */
function stuffed(text: string | Buffer): Buffer {
	const whole = typeof text === 'string' ? text : text.toString('latin1');
	const lines = (whole.endsWith('\n') ? whole : `${whole}\n`)
		.replaceAll(/\r?\n/g, '\r\n')
		.replaceAll(/^\./gm, '..');
	return Buffer.from(lines, typeof text === 'string' ? 'utf8' : 'latin1');
}
