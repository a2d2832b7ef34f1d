/*
 * The speed of a receiver alone, with clients that send as fast as it replies. If it is
 * not much higher than the speed of a delivery by Postfix, the receiver was the limit.
 */
import {once} from 'node:events';
import {connect, type Socket} from 'node:net';
import {connect as startTls} from 'node:tls';
import {median} from './measure.ts';
import type {Receiver} from './receiver.ts';

/** The speed of a receiver. */
export interface Speed {
	readonly perSecond: number;
	/** CPU seconds of the receiver per 1,000 operations. */
	readonly cpu: number;
}

/** An SMTP client that waits for the reply to each command. */
class Client {
	#socket: Socket;
	#text = '';
	#wake: () => void = () => undefined;

	private constructor(socket: Socket) {
		this.#socket = socket;
		this.#listen();
	}

	static async open(port: number): Promise<Client> {
		const socket = connect({port, host: '127.0.0.1', noDelay: true});
		const client = new Client(socket);
		await client.#reply();
		return client;
	}

	async command(text: string): Promise<void> {
		this.#socket.write(`${text}\r\n`);
		await this.#reply();
	}

	async encrypt(): Promise<void> {
		await this.command('EHLO bench.example');
		await this.command('STARTTLS');
		this.#socket.removeAllListeners('data');
		const secure = startTls({socket: this.#socket, rejectUnauthorized: false});
		await once(secure, 'secureConnect');
		this.#socket = secure;
		this.#listen();
		await this.command('EHLO bench.example');
	}

	async message(): Promise<void> {
		for (const command of ['MAIL FROM:<a@bench.example>', 'RCPT TO:<b@bench.example>', 'DATA']) {
			await this.command(command);
		}

		await this.command('Subject: message\r\n\r\nbody\r\n.');
	}

	close(): void {
		this.#socket.destroy();
	}

	#listen(): void {
		this.#socket.on('data', (bytes: Buffer) => {
			this.#text += bytes.toString('latin1');
			this.#wake();
		});
		this.#socket.on('error', () => undefined);
	}

	async #reply(): Promise<void> {
		while (!/^\d{3} .*\r\n$/m.test(this.#text)) {
			const {promise, resolve} = Promise.withResolvers<void>();
			this.#wake = resolve;
			await promise;
		}

		this.#text = '';
	}
}

/** Number of simultaneous clients. */
const CLIENTS = 20;

async function speedOf(
	receiver: Receiver,
	count: number,
	run: (each: number) => Promise<unknown>,
): Promise<Speed> {
	await run(100);
	const before = receiver.cpu().sink;
	const started = performance.now();
	await Promise.all(Array.from({length: CLIENTS}, () => run(count / CLIENTS)));
	const seconds = (performance.now() - started) / 1000;
	return {perSecond: count / seconds, cpu: ((receiver.cpu().sink - before) * 1000) / count};
}

/** Messages over reused TLS connections. */
export async function messageSpeed(receiver: Receiver): Promise<Speed> {
	return await speedOf(receiver, 10_000, async each => {
		const client = await Client.open(receiver.port);
		await client.encrypt();
		for (let index = 0; index < each; index++) {
			await client.message();
		}

		client.close();
	});
}

/** Messages with a new TLS connection for each. */
export async function connectionSpeed(receiver: Receiver): Promise<Speed> {
	return await speedOf(receiver, 2000, async each => {
		for (let index = 0; index < each; index++) {
			const client = await Client.open(receiver.port);
			await client.encrypt();
			await client.message();
			client.close();
		}
	});
}

/** Time between a command and its reply, in milliseconds. */
export async function roundTripOf(receiver: Receiver): Promise<number> {
	const client = await Client.open(receiver.port);
	const samples: number[] = [];
	for (let index = 0; index < 15; index++) {
		const started = performance.now();
		await client.command('EHLO bench.example');
		samples.push(performance.now() - started);
	}

	client.close();
	return median(samples);
}
