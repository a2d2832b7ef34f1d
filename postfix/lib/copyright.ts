/*++
/* NAME
/*	copyright 3
/* SUMMARY
/*	the copyright file of the Debian package
/* DESCRIPTION
/*	Makes the copyright file: the licence of this project, of the
/*	Node.js runtime, and of each npm package whose code is in the
/*	program. esbuild lists these packages.
/* SEE ALSO
/*	https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
/*--*/

import {globSync, readFileSync} from 'node:fs';
import {join} from 'node:path';
import {build} from 'esbuild';
import {UsageError} from './usage-error.ts';

/** Packages that are installed separately from the bundle. */
const NOT_BUNDLED = ['koffi'];

/**
 * The copyright file.
 *
 * @param home - top directory of the project.
 * @throws {UsageError} if a package contains no licence.
 */
export async function copyright(home: string): Promise<string> {
	const {metafile} = await build({
		absWorkingDir: home,
		entryPoints: ['src/main.ts'],
		bundle: true,
		platform: 'node',
		format: 'esm',
		external: NOT_BUNDLED,
		write: false,
		metafile: true,
		logLevel: 'error',
	});
	const bundled = Object.keys(metafile.inputs).flatMap(
		path => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? [],
	);
	const runtime = `node-linux-${process.arch}`;
	const packages = [...new Set([...bundled, ...NOT_BUNDLED])].toSorted();
	return `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: postfix-tlsproxy

Files: *
Copyright: the authors of postfix-tlsproxy
License: EPL-2.0
${indented(readFileSync(join(home, 'LICENSE'), 'utf8'))}
Files: usr/lib/postfix-tlsproxy/lib/node
Copyright: Node.js contributors, and the authors of what it includes
License: Node.js
${indented(licenceText(home, runtime))}
${packages.map(name => paragraph(home, name)).join('\n')}`;
}

function paragraph(home: string, name: string): string {
	const {license, version} = JSON.parse(
		readFileSync(join(home, 'node_modules', name, 'package.json'), 'utf8'),
	) as {readonly license?: string; readonly version: string};
	if (license === undefined) {
		throw new UsageError(`node_modules/${name}: no licence`);
	}

	const text = licenceText(home, name);
	const holders = [...text.matchAll(/^\s*(?:Copyright )?(?:\(c\)|©|Copyright)\s*(.*\w.*)$/gim)].map(
		([, holder = '']) => holder.trim(),
	);
	const files = NOT_BUNDLED.includes(name)
		? `usr/lib/postfix-tlsproxy/lib/node_modules/*`
		: 'usr/lib/postfix-tlsproxy/lib/main.js';
	return `Files: ${files}
Copyright: ${holders[0] ?? `the authors of ${name}`}
Comment: npm package ${name} ${version}
License: ${license}-${name.replace(/^@/, '').replace('/', '-')}
${indented(text)}`;
}

function licenceText(home: string, name: string): string {
	const [file] = globSync('{LICENSE,license,LICENCE}*', {cwd: join(home, 'node_modules', name)});
	if (file === undefined) {
		throw new UsageError(`node_modules/${name}: no licence text`);
	}

	return readFileSync(join(home, 'node_modules', name, file), 'utf8');
}

/* In this format, an empty line is written as a dot. */
function indented(text: string): string {
	return text
		.trimEnd()
		.split('\n')
		.map(line => (line.trim() === '' ? ' .\n' : ` ${line.trimEnd()}\n`))
		.join('');
}
