/*++
/* NAME
/*	package 1
/* SUMMARY
/*	make the Debian package
/* SYNOPSIS
/*	package [directory]
/* DESCRIPTION
/*	Builds the program, writes postfix-tlsproxy_VERSION_ARCH.deb to the
/*	directory (default: the top of the project) with dpkg-deb(1), and
/*	prints its path. The package contains the program with the Node.js
/*	runtime, the commands postfix-tlsproxy-install, -uninstall and
/*	-doctor, and documents. Nothing is compiled on the target.
/*
/*	The build is reproducible: the same sources give the same bytes.
/*	File times are SOURCE_DATE_EPOCH, by default the day of the latest
/*	entry in HISTORY. Root owns all files.
/*
/*	The installation of the package prints how to register the service,
/*	and changes no Postfix configuration: unpacking a file must not
/*	change how a mail server delivers mail, and the Debian policy
/*	(10.7.4) requires that a package changes the configuration of
/*	another package with the commands of that package only.
/*
/*	The removal of the package first removes the service from all
/*	instances: without the program, mail would be deferred, or sent in
/*	cleartext. prerm contains the script uninstall(1), which works
/*	without the runtime and the other files of the package.
/* DIAGNOSTICS
/*	package: fatal: ..., exit status 1.
/* SEE ALSO
/*	install(1), uninstall(1), deb(5)
/*--*/

import {execFileSync} from 'node:child_process';
import {createHash} from 'node:crypto';
import {
	chmodSync,
	cpSync,
	globSync,
	lstatSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	rmSync,
	writeFileSync,
} from 'node:fs';
import {tmpdir} from 'node:os';
import {basename, dirname, join, resolve} from 'node:path';
import {gzipSync} from 'node:zlib';
import {runCommand} from './command-line.ts';
import {copyright} from './copyright.ts';
import {builtProgram} from './program.ts';
import {UsageError} from './usage-error.ts';

const NAME = 'postfix-tlsproxy';
const COMMANDS = ['install', 'doctor'] as const;

/** Debian's name of an architecture, by that of Node.js. */
const ARCHITECTURES: Readonly<Partial<Record<NodeJS.Architecture, string>>> = {x64: 'amd64', arm64: 'arm64'};

/*
 * The libraries with which the runtime and the foreign function interface are linked, and those that
 * the program loads. test/postfix/package.ts compares this list with the binaries.
 */
const DEPENDS = [
	'postfix (>= 3.4)',
	'libc6 (>= 2.28)',
	'libgcc-s1',
	'libstdc++6 (>= 7)',
	'libatomic1',
	'libssl3t64 | libssl3 | libssl1.1',
];

const home = dirname(dirname(import.meta.dirname));

await runCommand('package', async () => {
	const {version, description} = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8')) as {
		readonly version: string;
		readonly description: string;
	};
	const architecture = ARCHITECTURES[process.arch];
	if (architecture === undefined) {
		throw new UsageError(`no Debian architecture for this machine: ${process.arch}`);
	}

	const tree = mkdtempSync(join(tmpdir(), `${NAME}-`));
	const previousMask = process.umask(0o022);
	try {
		const date = releaseDate();
		await fill(tree, date);
		mkdirSync(join(tree, 'DEBIAN'));
		const files = filesIn(tree);
		const size = files.reduce((sum, file) => sum + Math.ceil(lstatSync(join(tree, file)).size / 1024), 0);
		write(tree, 'DEBIAN/control', control(version, architecture, size, description));
		write(tree, 'DEBIAN/md5sums', files.map(file => `${md5(join(tree, file))}  ${file}\n`).join(''));
		write(tree, 'DEBIAN/postinst', read('postfix/debian/postinst'), 0o755);
		write(tree, 'DEBIAN/prerm', read('postfix/debian/prerm') + read('postfix/uninstall'), 0o755);

		const target = join(resolve(process.argv[2] ?? home), `${NAME}_${version}_${architecture}.deb`);
		build(tree, target, date);
		console.log(target);
	} finally {
		process.umask(previousMask);
		rmSync(tree, {recursive: true, force: true});
	}
});

async function fill(tree: string, date: Date): Promise<void> {
	const library = `usr/lib/${NAME}`;
	mkdirSync(join(tree, 'usr/lib'), {recursive: true});
	cpSync(builtProgram(home), join(tree, library), {recursive: true});
	for (const command of COMMANDS) {
		write(
			tree,
			`usr/sbin/${NAME}-${command}`,
			`#!/bin/sh\nexec /${library}/lib/node /${library}/lib/commands/${command}.js "$@"\n`,
			0o755,
		);
	}

	write(
		tree,
		`usr/sbin/${NAME}-uninstall`,
		`#!/bin/sh\nexec /${library}/lib/commands/uninstall "$@"\n`,
		0o755,
	);

	for (const page of globSync('man/*.[18]', {cwd: home}).toSorted()) {
		/* The Postfix package contains a page tlsproxy(8). */
		const name = basename(page) === 'tlsproxy.8' ? `${NAME}.8` : basename(page);
		write(tree, `usr/share/man/man${name.at(-1)}/${name}.gz`, compressed(read(page)));
	}

	const documents = `usr/share/doc/${NAME}`;
	for (const document of globSync(['README.md', 'INSTALL.md', 'SECURITY.md', 'man/*README*'], {
		cwd: home,
	}).toSorted()) {
		write(tree, `${documents}/${basename(document)}.gz`, compressed(read(document)));
	}

	for (const example of globSync('postfix/*.{cf,conf}', {cwd: home}).toSorted()) {
		write(tree, `${documents}/examples/${basename(example)}`, read(example));
	}

	write(tree, `${documents}/changelog.gz`, compressed(changelog(date)));
	write(tree, `${documents}/HISTORY.gz`, compressed(read('HISTORY')));
	write(tree, `${documents}/copyright`, await copyright(home));
	write(tree, `usr/share/lintian/overrides/${NAME}`, read('postfix/debian/lintian-overrides'));
}

function control(version: string, architecture: string, size: number, description: string): string {
	return `Package: ${NAME}
Version: ${version}
Architecture: ${architecture}
Maintainer: ${maintainer()}
Installed-Size: ${size}
Depends: ${DEPENDS.join(', ')}
Section: mail
Priority: optional
Description: ${description.replace(/^An? /, '')}
 With smtp_tls_connection_reuse, the Postfix SMTP client passes each connection
 to a TLS proxy after STARTTLS. The connection can then be stored, and used for
 more than one message. This program replaces the tlsproxy(8) that comes with
 Postfix. It uses the same protocol, parameters and log lines.
 .
 The package contains the Node.js runtime that it needs. Installing it changes
 no configuration: the command postfix-tlsproxy-install registers the program
 with a Postfix instance, and postfix-tlsproxy-doctor reports why connections
 are not reused.
`;
}

function maintainer(): string {
	const {author} = JSON.parse(read('package.json')) as {readonly author: string};
	return author;
}

/* A change log in the format of Debian. HISTORY, in the format of Postfix, lists the changes. */
function changelog(date: Date): string {
	const {version} = JSON.parse(read('package.json')) as {readonly version: string};
	const day = date
		.toUTCString()
		.replace(/GMT$/, '+0000')
		.replace(/^(\w+, )0/, '$1 ');
	return `${NAME} (${version}) unstable; urgency=medium\n\n  * HISTORY.gz in this directory lists the changes.\n\n -- ${maintainer()}  ${day}\n`;
}

function releaseDate(): Date {
	const epoch = process.env['SOURCE_DATE_EPOCH'];
	if (epoch !== undefined) {
		return new Date(Number(epoch) * 1000);
	}

	const [, year, month, day] = [...read('HISTORY').matchAll(/^(\d{4})(\d\d)(\d\d)$/gm)].at(-1) ?? [];
	if (day === undefined) {
		throw new UsageError('HISTORY has no dated entry');
	}

	return new Date(`${year}-${month}-${day}T00:00:00Z`);
}

function build(tree: string, target: string, date: Date): void {
	const seconds = Math.floor(date.getTime() / 1000);
	chmodSync(tree, 0o755);
	for (const file of readdirSync(tree, {recursive: true, encoding: 'utf8'})) {
		const path = join(tree, file);
		const stat = lstatSync(path);
		chmodSync(path, stat.isDirectory() || (stat.mode & 0o100) !== 0 ? 0o755 : 0o644);
		execFileSync('touch', ['--no-dereference', `--date=@${seconds}`, path]);
	}

	/* dpkg of every supported release can read xz. One thread: the output depends on the number of threads. */
	execFileSync('dpkg-deb', ['--root-owner-group', '-Zxz', '-z1', '--build', tree, target], {
		stdio: ['ignore', 'ignore', 'inherit'],
		env: {...process.env, SOURCE_DATE_EPOCH: String(seconds), DPKG_DEB_THREADS_MAX: '1', LC_ALL: 'C'},
	});
}

function filesIn(tree: string): readonly string[] {
	return readdirSync(tree, {recursive: true, encoding: 'utf8'})
		.filter(file => lstatSync(join(tree, file)).isFile())
		.toSorted();
}

function md5(path: string): string {
	return createHash('md5').update(readFileSync(path)).digest('hex');
}

/* gzipSync() writes no time stamp. */
function compressed(text: string): Buffer {
	return gzipSync(text, {level: 9});
}

function read(path: string): string {
	return readFileSync(join(home, path), 'utf8');
}

function write(tree: string, path: string, content: string | Buffer, mode = 0o644): void {
	mkdirSync(dirname(join(tree, path)), {recursive: true});
	writeFileSync(join(tree, path), content, {mode});
}
