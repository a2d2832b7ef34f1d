/*++
/* NAME
/*	package 1
/* SUMMARY
/*	make a Debian package of the built program
/* SYNOPSIS
/*	package [directory]
/* DESCRIPTION
/*	Writes postfix-tlsproxy_VERSION_ARCH.deb to the directory, by
/*	default the top of the project, with dpkg-deb(1), and prints its
/*	path. The package has the program with its own runtime, the
/*	commands postfix-tlsproxy-install, -uninstall and -doctor, and
/*	manuals. Nothing is compiled where it is installed.
/*
/*	The same sources give the same package, byte for byte: times are
/*	SOURCE_DATE_EPOCH, by default the day of the latest entry in
/*	HISTORY; files belong to root.
/*
/*	Installing the package changes no Postfix configuration: it says
/*	how to register the service. A mail server does not change its way
/*	of delivery because a file was unpacked, and Debian's policy
/*	(10.7.4) leaves the configuration of one package to its commands.
/*	Removing it takes the service out of all instances first, because
/*	mail is deferred, or sent in cleartext, when a service has no
/*	program. The script that does so is uninstall(1), as a part of
/*	prerm: it works with a damaged runtime, and without the files of
/*	the package.
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
import {UsageError} from './master-cf.ts';
import {builtProgram} from './program.ts';

const NAME = 'postfix-tlsproxy';
const COMMANDS = ['install', 'doctor'] as const;

/** What the program is in Debian's words, by Node.js's word for the machine. */
const ARCHITECTURES: Readonly<Partial<Record<NodeJS.Architecture, string>>> = {x64: 'amd64', arm64: 'arm64'};

/*
 * What the runtime and the foreign function interface are linked with, and what the
 * program loads. test/postfix/package.ts compares this with the files.
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
		throw new UsageError(`no Debian name for this kind of machine: ${process.arch}`);
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
		/* The page of the program has the name of the package: Postfix has a tlsproxy(8). */
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
 With smtp_tls_connection_reuse, the Postfix SMTP client hands each connection
 to a TLS proxy after STARTTLS. The connection can then be stored, and carries
 more than one message. This program does the job of the tlsproxy(8) that
 comes with Postfix, over the same protocol, with the same parameters and the
 same log lines.
 .
 It brings its own runtime. Installing it changes no configuration: the
 command postfix-tlsproxy-install registers it with a Postfix instance, and
 postfix-tlsproxy-doctor says why connections are not being reused.
`;
}

function maintainer(): string {
	const {author} = JSON.parse(read('package.json')) as {readonly author: string};
	return author;
}

/* Debian's form. What changed is in HISTORY, in Postfix's. */
function changelog(date: Date): string {
	const {version} = JSON.parse(read('package.json')) as {readonly version: string};
	const day = date
		.toUTCString()
		.replace(/GMT$/, '+0000')
		.replace(/^(\w+, )0/, '$1 ');
	return `${NAME} (${version}) unstable; urgency=medium\n\n  * The record of changes is HISTORY.gz in this directory.\n\n -- ${maintainer()}  ${day}\n`;
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

	/* xz is what dpkg of all supported releases can read; one thread, because the output depends on their number. */
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

/* Without the time of compression. */
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
