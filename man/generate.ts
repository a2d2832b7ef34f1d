/*++
/* NAME
/*	generate 1
/* SUMMARY
/*	generate manual pages from source headers
/* SYNOPSIS
/*	node man/generate.ts
/* DESCRIPTION
/*	Writes man/tlsproxy.8 from the header of src/main.ts, and the page
/*	of each command from the header of its source, under the name that
/*	the package gives the command. The format is that of Postfix's
/*	srctoman(1): the page is the text between the markers of the
/*	header, without the comment prefix of each line; a line that does
/*	not begin with white space is a heading; a line that begins with a
/*	dot is nroff.
/*--*/

import {readFileSync, writeFileSync} from 'node:fs';

/** The source of each page, by the name of its file in man/. */
export const sources: ReadonlyMap<string, string> = new Map([
	['tlsproxy.8', 'src/main.ts'],
	['postfix-tlsproxy-doctor.1', 'postfix/lib/doctor.ts'],
	['postfix-tlsproxy-install.1', 'postfix/lib/install.ts'],
	['postfix-tlsproxy-uninstall.1', 'postfix/uninstall'],
]);

/** Prefix of the command names in the package. */
const PREFIX = 'postfix-tlsproxy-';

/* Sections whose lines are not joined. */
const LINES = new Set(['SYNOPSIS', 'SEE ALSO', 'LICENSE']);

/**
 * Converts the header of a source file to nroff.
 *
 * @param source - text of the source file.
 * @param name - name of the page without the section; default: the name in the header.
 */
export function manualPage(source: string, name?: string): string {
	const block = /^(?:\/\*|#)\+\+\n([\s\S]*?)^(?:\/\*--\*\/|#--)$/m.exec(source)?.[1] ?? '';
	const sections = sectionsOf(block);
	const [sourceName = '', section = ''] = (sections.get('NAME')?.[0] ?? '').split(' ');
	const title = name ?? sourceName;
	const output = [
		`.TH ${title.toUpperCase()} ${section}`,
		'.ad',
		'.fi',
		'.SH NAME',
		title,
		'\\-',
		escaped(sections.get('SUMMARY')?.join(' ') ?? ''),
	];
	for (const [heading, lines] of sections) {
		if (heading === 'NAME' || heading === 'SUMMARY') {
			continue;
		}

		output.push(`.SH "${heading}"`, ...(LINES.has(heading) ? ['.na', '.nf'] : ['.ad', '.fi']));
		for (const line of lines) {
			output.push(nroff(renamed(line, heading, sourceName, title)));
		}
	}

	return `${output.join('\n')}\n`;
}

function sectionsOf(block: string): ReadonlyMap<string, readonly string[]> {
	const sections = new Map<string, string[]>();
	let lines: string[] = [];
	for (const line of block.trimEnd().split('\n')) {
		const text = line.replace(/^(?:\/\*|#) ?/, '');
		if (/^[A-Z]/.test(text)) {
			lines = [];
			sections.set(text, lines);
		} else {
			lines.push(text.replace(/^\t/, ''));
		}
	}

	return sections;
}

/* In the source, commands refer to each other without the prefix. */
function renamed(line: string, heading: string, sourceName: string, title: string): string {
	if (sourceName === title) {
		return line;
	}

	return heading === 'SYNOPSIS' && line.startsWith(`${sourceName} `)
		? title + line.slice(sourceName.length)
		: line.replaceAll(/\b(install|uninstall|doctor)\(1\)/g, `${PREFIX}$1(1)`);
}

function nroff(line: string): string {
	return line === ''
		? '.sp'
		: line.startsWith('.')
			? line.replaceAll('-', '\\-').replaceAll(/\\\\-/g, '\\-')
			: escaped(line);
}

function escaped(text: string): string {
	return text.replaceAll('\\', '\\e').replaceAll('-', '\\-');
}

/**
 * Generates the page for a file in this directory.
 *
 * @param file - such as `tlsproxy.8`.
 * @param source - text of the source file.
 */
export function pageFrom(file: string, source: string): string {
	const name = file.replace(/\.\d$/, '');
	return manualPage(source, name === 'tlsproxy' ? undefined : name);
}

if (import.meta.main) {
	for (const [file, source] of sources) {
		const text = readFileSync(new URL(`../${source}`, import.meta.url), 'utf8');
		writeFileSync(new URL(file, import.meta.url), pageFrom(file, text));
	}
}
