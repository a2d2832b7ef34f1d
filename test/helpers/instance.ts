/*
 * Instances that are never started: a directory with main.cf and master.cf, for
 * commands that only look at these or change them.
 */
import {chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';

/** An instance. Disposal removes it. */
export interface Instance extends Disposable {
	readonly directory: string;
	readonly masterCf: string;
	read(): string;
}

const debianMasterCf = ['/usr/share/postfix/master.cf.dist', '/etc/postfix/master.cf.proto'].find(path =>
	existsSync(path),
);
/** The master.cf that Debian's package comes with. */
export const proto: string =
	debianMasterCf === undefined
		? 'smtp unix - - y - - smtp\n#tlsproxy unix - - y - 0 tlsproxy\n'
		: readFileSync(debianMasterCf, 'latin1');

/**
 * Makes an instance.
 *
 * @param text - master.cf.
 * @param main - what main.cf has in addition.
 */
export function instance(text: string = proto, main = ''): Instance {
	const directory = mkdtempSync(join(tmpdir(), 'tlsproxy-install-'));
	chmodSync(directory, 0o755);
	const masterCf = join(directory, 'master.cf');
	writeFileSync(
		join(directory, 'main.cf'),
		`compatibility_level = 3.6\nqueue_directory = ${directory}/queue\n${main}`,
	);
	/* For as long as it is new, every postconf(1) waits for it to be complete. */
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
