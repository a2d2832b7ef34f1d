/* A syslog socket, and a mount namespace in which it is /dev/log. */
import {chmodSync, mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import type {ExecutionContext} from 'ava';
import {END, FAILED, WANT_READ} from '../../src/base/io-result.ts';
import {buffer, readStream} from '../../src/event/stream.ts';
import {SOCK_DGRAM} from '../../src/ffi/libc/libc.ts';
import {namedSocket} from './master.ts';

/** A datagram socket that receives records. */
export function receiver(
	t: ExecutionContext,
	directory = mkdtempSync(join(tmpdir(), 'log-')),
): {
	readonly directory: string;
	readonly path: string;
	readonly close: () => void;
	readonly records: () => readonly string[];
} {
	t.teardown(() => rmSync(directory, {recursive: true, force: true}));
	const path = join(directory, 'log');
	const held = namedSocket(t, path, SOCK_DGRAM);
	/* All users may log. */
	chmodSync(directory, 0o755);
	chmodSync(path, 0o666);
	return {
		directory,
		path,
		close: () => held.close(),
		records: () => {
			const found: string[] = [];
			for (let size = readStream(held.fd); size !== WANT_READ; size = readStream(held.fd)) {
				if (size === END || size === FAILED) {
					throw new Error(`receive: ${size}`);
				}

				found.push(Buffer.from(buffer.bytes.subarray(0, size)).toString());
			}

			return found;
		},
	};
}

/* The path /dev/log is fixed: another socket needs a private /dev. */
const PRIVATE_DEV = `
	mkdir "$0/dev" && mount --bind /dev "$0/dev" && mount -t tmpfs none /dev || exit 1
	for name in null zero random urandom; do
		: >"/dev/$name" && mount --bind "$0/dev/$name" "/dev/$name" || exit 1
	done
	ln -s /proc/self/fd /dev/fd && ln -s "$0/log" /dev/log || exit 1
	exec "$@"`;

/** The wrapper that runs a program with the log socket of a directory: see {@link receiver}. */
export function withLog(directory: string): readonly string[] {
	return ['unshare', '--mount', 'sh', '-c', PRIVATE_DEV, directory];
}
