/*
 * A way to block either program. OpenSSL opens the files of a CApath directory while it
 * verifies a chain, and open(2) of a FIFO without a writer blocks.
 */
import {execFileSync} from 'node:child_process';
import {chmodSync, mkdtempSync} from 'node:fs';
import {join} from 'node:path';
import {peerFiles} from './remote-servers.ts';

/** Makes a FIFO that all can read. */
export function makeFifo(path: string): string {
	execFileSync('mkfifo', [path]);
	chmodSync(path, 0o644);
	return path;
}

/**
 * Makes a CApath directory for the certificates of echoPeer(): the verification of one of them blocks the
 * process until the watchdog ends it. The program does not check the files of such a directory.
 *
 * @param parent - an existing directory.
 */
export function blockingCaPath(parent: string): string {
	const directory = mkdtempSync(join(parent, 'ca-'));
	chmodSync(directory, 0o755);
	const hash = execFileSync('openssl', ['x509', '-noout', '-issuer_hash'], {input: peerFiles().cert});
	makeFifo(join(directory, `${String(hash).trim()}.0`));
	return directory;
}
