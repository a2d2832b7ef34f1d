/*++
/* NAME
/*	inject 3
/* SUMMARY
/*	submit messages by SMTP, in parallel streams
/* DESCRIPTION
/*	Each stream is a connection, and submits one message after the
/*	other. SMTP is used because sendmail(1) and postdrop(1) accept only
/*	configuration directories that the main.cf of the host names, and
/*	that file must not be changed.
/* DIAGNOSTICS
/*	Error: the server rejected a command, or closed the connection.
/*--*/

import {once} from 'node:events';
import {connect, type Socket} from 'node:net';
import {createInterface} from 'node:readline';

/** A message to submit. */
export interface Outgoing {
	readonly from: string;
	readonly to: string;
	/** Lines of any length that end with LF, without null bytes. */
	readonly text: string | Buffer;
}

/**
 * Submits messages. Resolves when the server has accepted all of them.
 *
 * @param port - TCP port on 127.0.0.1.
 * @param streams - number of connections.
 * @param onAccepted - called after each message.
 */
export async function inject(
	port: number,
	messages: Iterable<Outgoing>,
	streams: number,
	onAccepted: () => void = () => undefined,
): Promise<void> {
	const queue = messages[Symbol.iterator]();
	await Promise.all(Array.from({length: streams}, () => stream(port, queue, onAccepted)));
}

async function stream(port: number, queue: Iterator<Outgoing>, onAccepted: () => void): Promise<void> {
	const socket = connect(port, '127.0.0.1');
	try {
		await once(socket, 'connect');
		/* With Nagle's algorithm, a message would wait for the delayed acknowledgement: 40 milliseconds. */
		socket.setNoDelay();
		const replies = createInterface({input: socket, crlfDelay: Infinity})[Symbol.asyncIterator]();
		const expect = async (code: string): Promise<void> => {
			for (;;) {
				const {value, done} = await replies.next();
				if (done === true) {
					throw new Error('the sandbox closed the connection');
				}

				if (value[3] !== '-') {
					if (!value.startsWith(code)) {
						throw new Error(`unexpected reply of the sandbox: ${value}`);
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
			onAccepted();
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
