/*
 * The files of the Debian package. test/releases/package tests its installation, upgrade
 * and removal.
 */
import {execFileSync, spawnSync} from 'node:child_process';
import {createHash} from 'node:crypto';
import {globSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {basename, join} from 'node:path';
import {gunzipSync} from 'node:zlib';
import test from 'ava';
import {neededLibraries} from '../../src/base/elf.ts';

const project = join(import.meta.dirname, '..', '..');
const directory = mkdtempSync(join(tmpdir(), 'tlsproxy-package-'));
const tree = join(directory, 'tree');
const control = join(directory, 'control');
let archive = '';

function make(target: string): string {
	mkdirSync(target);
	return execFileSync(join(project, 'postfix', 'package'), [target], {encoding: 'utf8'}).trim();
}

test.before(() => {
	archive = make(join(directory, 'first'));
	execFileSync('dpkg-deb', ['-x', archive, tree]);
	execFileSync('dpkg-deb', ['-e', archive, control]);
});

test.after.always(() => {
	rmSync(directory, {recursive: true, force: true});
});

function field(name: string): string {
	return execFileSync('dpkg-deb', ['-f', archive, name], {encoding: 'utf8'}).trim();
}

function digest(path: string, algorithm: string): string {
	return createHash(algorithm).update(readFileSync(path)).digest('hex');
}

/* All files, without directories. */
const files = () =>
	globSync('**/*', {cwd: tree})
		.filter(file => !lstatSync(join(tree, file)).isDirectory())
		.toSorted();

test('the file name of the package contains version and architecture', t => {
	const {version} = JSON.parse(readFileSync(join(project, 'package.json'), 'utf8')) as {version: string};
	t.is(field('Package'), 'postfix-tlsproxy');
	t.is(field('Version'), version);
	t.is(field('Architecture'), execFileSync('dpkg', ['--print-architecture'], {encoding: 'utf8'}).trim());
	t.is(basename(archive), `postfix-tlsproxy_${version}_${field('Architecture')}.deb`);
});

test('two builds of the same sources are equal', t => {
	t.is(digest(make(join(directory, 'second')), 'sha256'), digest(archive, 'sha256'));
});

test('md5sums lists every file, root owns every file, and only root can write to it', t => {
	const sums = readFileSync(join(control, 'md5sums'), 'utf8').trimEnd().split('\n');
	t.deepEqual(
		sums,
		files().map(file => `${digest(join(tree, file), 'md5')}  ${file}`),
	);
	const listing = execFileSync('dpkg-deb', ['-c', archive], {encoding: 'utf8'}).trimEnd().split('\n');
	for (const line of listing) {
		t.regex(line, /^(drwxr-xr-x|-rwxr-xr-x|-rw-r--r--) root\/root /);
	}
});

test('no file is in /etc, and nothing is compiled on the target', t => {
	for (const file of files()) {
		t.regex(file, /^usr\/(lib|sbin|share\/(man|doc|lintian))\//);
		t.notRegex(file, /\.(ts|c|cc|h|gyp)$/);
	}

	t.deepEqual(globSync('*', {cwd: control}).toSorted(), ['control', 'md5sums', 'postinst', 'prerm']);
});

test('the program, its runtime and every command run from the unpacked package', t => {
	const library = join(tree, 'usr/lib/postfix-tlsproxy');
	const node = join(library, 'lib/node');
	execFileSync(node, ['--check', join(library, 'lib/main.js')]);
	t.deepEqual(readFileSync(join(library, 'tlsproxy')), readFileSync(join(project, 'src/boot/supervisor.sh')));
	const {stderr} = spawnSync(join(library, 'lib/commands/uninstall'), {encoding: 'utf8'});
	t.regex(stderr, /no configuration directory/);
	t.is(
		readFileSync(join(tree, 'usr/sbin/postfix-tlsproxy-uninstall'), 'utf8'),
		'#!/bin/sh\nexec /usr/lib/postfix-tlsproxy/lib/commands/uninstall "$@"\n',
	);
	for (const command of ['install', 'doctor']) {
		const wrapper = readFileSync(join(tree, `usr/sbin/postfix-tlsproxy-${command}`), 'utf8');
		const [, script = ''] = / \/(usr\/\S+\.js) "\$@"\n$/.exec(wrapper) ?? [];
		t.throws(() => execFileSync(node, [join(tree, script)], {stdio: 'pipe'}), {
			message: /no configuration directory/,
		});
	}
});

test('every library that the binaries need is a dependency', t => {
	const owners: Readonly<Record<string, string>> = {
		'libatomic.so.1': 'libatomic1',
		'libgcc_s.so.1': 'libgcc-s1',
		'libstdc++.so.6': 'libstdc++6',
	};
	const depends = field('Depends')
		.split(', ')
		.map(text => text.split(' ')[0]);
	const binaries = files().filter(file => file.endsWith('/node') || file.endsWith('.node'));
	t.true(binaries.length >= 2);
	for (const binary of binaries) {
		const libraries = neededLibraries(join(tree, binary));
		t.true(libraries.length > 0);
		for (const library of libraries) {
			const owner =
				owners[library] ?? (/^(ld-linux|lib(c|m|dl|pthread)\.)/.test(library) ? 'libc6' : library);
			t.true(depends.includes(owner), `${binary} needs ${library}`);
		}

		/* Symbol versions are plain text in the binary. The oldest supported Debian release has 2.31. */
		const text = readFileSync(join(tree, binary), 'latin1');
		for (const [, minor = ''] of text.matchAll(/GLIBC_2\.(\d+)/g)) {
			t.true(Number(minor) <= 28, `${binary} needs GLIBC_2.${minor}`);
		}
	}
});

test('every command and the program have a manual page that nroff accepts', t => {
	const pages = globSync('usr/share/man/man*/*.gz', {cwd: tree}).map(page => basename(page, '.gz'));
	t.deepEqual(pages.toSorted(), [
		'postfix-tlsproxy-doctor.1',
		'postfix-tlsproxy-install.1',
		'postfix-tlsproxy-uninstall.1',
		'postfix-tlsproxy.8',
	]);
});

test('the copyright file contains the licences of this project, of the runtime, and of each bundled package', t => {
	const text = readFileSync(join(tree, 'usr/share/doc/postfix-tlsproxy/copyright'), 'utf8');
	t.true(text.startsWith('Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n'));
	for (const excerpt of [
		'Eclipse Public License',
		'Node.js is licensed',
		'npm package koffi',
		'npm package pino',
	]) {
		t.true(text.includes(excerpt), excerpt);
	}

	/* In this format an empty line ends a paragraph. */
	t.notRegex(text, /\n\n(?!Files: )/);
});

test('the change log has the format of Debian', t => {
	const text = gunzipSync(readFileSync(join(tree, 'usr/share/doc/postfix-tlsproxy/changelog.gz'))).toString();
	t.regex(
		text,
		/^postfix-tlsproxy \([\d.]+\) unstable; urgency=medium\n\n {2}\* .*\n\n -- [^<]+ <\S+@\S+> {2}\w{3}, [ \d]\d \w{3} \d{4} [\d:]+ \+0000\n$/,
	);
});

test('the maintainer scripts are valid shell scripts', t => {
	for (const script of ['postinst', 'prerm']) {
		execFileSync('sh', ['-n', join(control, script)]);
		t.is(lstatSync(join(control, script)).mode & 0o777, 0o755);
	}
});

test('prerm does nothing for an upgrade, and otherwise runs uninstall', t => {
	const prerm = join(control, 'prerm');
	t.true(readFileSync(prerm, 'utf8').endsWith(readFileSync(join(project, 'postfix/uninstall'), 'utf8')));
	t.is(execFileSync(prerm, ['upgrade', '9.9'], {encoding: 'utf8', env: {PATH: '/nonexistent'}}), '');
	/* Without privileges it fails before it changes anything, so the test can run it on this machine. */
	const {status, stderr} = spawnSync('sh', ['-s', 'remove'], {
		encoding: 'utf8',
		input: readFileSync(prerm),
		cwd: '/',
		uid: 65_534,
	});
	t.deepEqual([status, stderr], [1, 'uninstall: fatal: this needs root privileges: root owns master.cf\n']);
});
