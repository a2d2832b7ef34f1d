/*
 * Instances that are never started: a directory with main.cf and master.cf, for commands
 * that read or change these files.
 */
import {chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';

/** An instance. Disposal removes its directory. */
export interface Instance extends Disposable {
	readonly directory: string;
	/** Path of master.cf. */
	readonly masterCf: string;
	/** The text of master.cf, one character per byte. */
	read(): string;
}

const debianMasterCf = ['/usr/share/postfix/master.cf.dist', '/etc/postfix/master.cf.proto'].find(path =>
	existsSync(path),
);
/** The master.cf of the Debian package. */
export const proto: string =
	debianMasterCf === undefined
		? 'smtp unix - - y - - smtp\n#tlsproxy unix - - y - 0 tlsproxy\n'
		: readFileSync(debianMasterCf, 'latin1');

/**
 * Makes an instance.
 *
 * @param text - the text of master.cf.
 * @param main - additional lines of main.cf.
 */
export function instance(text: string = proto, main = ''): Instance {
	const directory = mkdtempSync(join(tmpdir(), 'tlsproxy-install-'));
	chmodSync(directory, 0o755);
	const masterCf = join(directory, 'master.cf');
	writeFileSync(
		join(directory, 'main.cf'),
		`compatibility_level = 3.6\nqueue_directory = ${directory}/queue\n${main}`,
	);
	/* postconf(1) waits for one second if main.cf is new, because it may be incomplete. */
	const past = Date.now() / 1000 - 60;
	utimesSync(join(directory, 'main.cf'), past, past);
	writeFileSync(masterCf, text, 'latin1');
	return {
		directory,
		masterCf,
		read: () => readFileSync(masterCf, 'latin1'),
		[Symbol.dispose]() {
			rmSync(directory, {recursive: true, force: true});
		},
	};
}
