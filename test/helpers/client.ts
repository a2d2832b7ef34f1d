/*
 * The side of smtp(8) in a hand-off, one step after the other, so that a test can
 * stop, or do something else, at any of them.
 */
import {once} from 'node:events';
import {readdirSync, readFileSync} from 'node:fs';
import {connect, type Socket} from 'node:net';
import type {Fd} from '../../src/base/units.ts';
import {type ReleaseFeatures, releaseFeatures} from '../../src/conf/release.ts';
import {AttributeFramer, type AttributeList} from '../../src/wire/attribute-list.ts';
import {type ClientSettings, ClientSettingsParser} from '../../src/wire/client-settings.ts';
import {sendDescriptors} from './scm-rights.ts';

/** Time for an answer, in milliseconds. Whoever waits for ever keeps all other tests waiting too. */
const PATIENCE = 150_000;

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
		/* A reset is an end like others; what came before it is what counts. */
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

	/** The descriptor; borrowed. */
	get fd(): Fd {
		return (this.socket as unknown as {_handle: {fd: Fd}})._handle.fd;
	}

	/** Sends bytes, and waits until the kernel has them. */
	async send(bytes: Uint8Array | string): Promise<void> {
		await new Promise<void>(resolve => {
			this.socket.write(bytes, () => resolve());
		});
	}

	/** Passes descriptors with one byte; they stay the caller's. */
	pass(...descriptors: readonly Fd[]): void {
		if (sendDescriptors(this.fd, descriptors) !== 1) {
			throw new Error('sendmsg');
		}
	}

	/** Some bytes; fewer at the end of the stream. */
	async bytes(count: number): Promise<Buffer> {
		await this.#until(() => this.#received.length >= count);
		return this.#take(count);
	}

	/** All bytes up to the end of the stream. */
	async rest(): Promise<Buffer> {
		await this.#until(() => false);
		return this.#take(this.#received.length);
	}

	/** An attribute list; undefined when the stream ends instead. */
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

	/** Gives the stream to the caller, with what has not been taken of it. */
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
		const {promise: late, reject} = Promise.withResolvers<never>();
		const timer = setTimeout(() => reject(new Error('tlsproxy does not answer')), PATIENCE);
		try {
			while (!condition() && !this.ended) {
				const told = new Promise<void>(resolve => {
					this.#wake = resolve;
				});
				await Promise.race([told, late]);
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

const vectors = new URL('../fixtures/vectors/', import.meta.url);

/** What smtp(8) of a release sends when nothing is configured but level encrypt: recorded. */
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
		throw new Error(`${file} has no list where the manifest says`);
	}

	return new ClientSettingsParser(features).parse(framed.list);
}
