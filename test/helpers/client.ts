/*
 * The client side of a hand-off, as in smtp(8). Each step is a method, so that a test can
 * deviate from the protocol at any of them.
 */
import {once} from 'node:events';
import {readdirSync, readFileSync} from 'node:fs';
import {connect, type Socket} from 'node:net';
import type {Fd, Seconds} from '../../src/base/units.ts';
import {type ReleaseFeatures, releaseFeatures} from '../../src/conf/release.ts';
import {AttributeFramer, type AttributeList} from '../../src/wire/attribute-list.ts';
import {type ClientSettings, ClientSettingsParser} from '../../src/wire/client-settings.ts';
import type {Request} from '../../src/wire/request.ts';
import {sendDescriptors} from './scm-rights.ts';

/** Time limit for an answer, in milliseconds. Without it, one test could block all others. */
const ANSWER_TIMEOUT = 150_000;

/** A connection to tlsproxy(8). Disposal closes it. */
export class LocalClient implements Disposable {
	readonly socket: Socket;
	#received = Buffer.alloc(0);
	#wake: () => void = () => undefined;
	readonly #collect = (bytes: Buffer): void => {
		this.#received = Buffer.concat([this.#received, bytes]);
		this.#wake();
	};

	private constructor(socket: Socket) {
		this.socket = socket;
		/* A reset counts as an end; the data before it is kept. */
		socket.on('error', () => undefined);
		socket.on('data', this.#collect);
		socket.on('end', () => this.#wake());
		socket.on('close', () => this.#wake());
	}

	static async connect(path: string): Promise<LocalClient> {
		const socket = connect({path, allowHalfOpen: true});
		await once(socket, 'connect');
		return new LocalClient(socket);
	}

	/** Whether the daemon has closed its side. */
	get ended(): boolean {
		return this.socket.readableEnded || this.socket.destroyed;
	}

	/** The descriptor of the connection; borrowed. */
	get fd(): Fd {
		return (this.socket as unknown as {_handle: {fd: Fd}})._handle.fd;
	}

	/** Sends bytes, and waits until they are written. */
	async send(bytes: Uint8Array | string): Promise<void> {
		await new Promise<void>(resolve => {
			this.socket.write(bytes, () => resolve());
		});
	}

	/** Passes descriptors with one byte. The caller still owns its descriptors. */
	pass(...descriptors: readonly Fd[]): void {
		if (sendDescriptors(this.fd, descriptors) !== 1) {
			throw new Error('sendmsg');
		}
	}

	/** Reads bytes; fewer at the end of the stream. */
	async bytes(count: number): Promise<Buffer> {
		await this.#until(() => this.#received.length >= count);
		return this.#take(count);
	}

	/** Reads all bytes up to the end of the stream. */
	async rest(): Promise<Buffer> {
		await this.#until(() => false);
		return this.#take(this.#received.length);
	}

	/** Reads an attribute list; undefined if the stream ends before. */
	async list(): Promise<AttributeList | undefined> {
		let framed: ReturnType<AttributeFramer['push']>;
		await this.#until(() => {
			framed = new AttributeFramer().push(this.#received);
			return framed !== undefined;
		});
		if (framed === undefined) {
			return undefined;
		}

		this.#take(framed.taken);
		return framed.list;
	}

	/** Moves the stream to the caller, with the bytes that are not read yet. */
	release(): Socket {
		this.socket.pause();
		this.socket.off('data', this.#collect);
		if (this.#received.length > 0) {
			this.socket.unshift(this.#received);
		}

		return this.socket;
	}

	[Symbol.dispose](): void {
		this.socket.destroy();
	}

	async #until(condition: () => boolean): Promise<void> {
		const {promise: timeout, reject} = Promise.withResolvers<never>();
		const timer = setTimeout(() => reject(new Error('no answer from tlsproxy')), ANSWER_TIMEOUT);
		try {
			while (!condition() && !this.ended) {
				const changed = new Promise<void>(resolve => {
					this.#wake = resolve;
				});
				await Promise.race([changed, timeout]);
			}
		} finally {
			clearTimeout(timer);
		}
	}

	#take(count: number): Buffer {
		const taken = this.#received.subarray(0, count);
		this.#received = this.#received.subarray(count);
		return taken;
	}
}

/** A request of postscreen(8). Its time limits are long, so that a busy machine does not reach them. */
export const serverRequest: Request = {
	remoteEndpoint: '[192.0.2.1]:25',
	role: 'server',
	sendContext: true,
	probeOnly: false,
	handshakeTimeout: 100 as Seconds,
	sessionTimeout: 300 as Seconds,
	serverId: 'smtpd',
};

const vectors = new URL('../fixtures/vectors/', import.meta.url);

/** The recorded settings of smtp(8) of a release with smtp_tls_security_level=encrypt and other defaults. */
export function recordedSettings(features: ReleaseFeatures): ClientSettings {
	const directory = readdirSync(vectors).find(
		name => releaseFeatures(name.replace('postfix-', '')).format === features.format,
	);
	const folder = new URL(`${directory}/`, vectors);
	const {sessions} = JSON.parse(readFileSync(new URL('manifest.json', folder), 'utf8')) as {
		readonly sessions: ReadonlyArray<{
			readonly name: string;
			readonly to_proxy: {readonly file: string; readonly settings: readonly [number, number]};
		}>;
	};
	const found = sessions.find(({name}) => name.endsWith('smtp-encrypt-reused'));
	if (found === undefined) {
		throw new Error(`no recorded session of ${directory}`);
	}

	const {file, settings} = found.to_proxy;
	const framed = new AttributeFramer().push(readFileSync(new URL(file, folder)).subarray(...settings));
	if (framed === undefined) {
		throw new Error(`${file} has no attribute list at the offset in the manifest`);
	}

	return new ClientSettingsParser(features).parse(framed.list);
}
