/*++
/* NAME
/*	generate 1
/* SUMMARY
/*	manual pages from the blocks at the top of sources
/* SYNOPSIS
/*	node man/generate.ts
/* DESCRIPTION
/*	Writes man/tlsproxy.8 from src/main.ts, and the page of each command
/*	from its source, under the name that the package gives it. The
/*	rules are those of Postfix's srctoman(1): text between the markers
/*	of the block, each line without its prefix; a line that does not
/*	begin with white space is a heading; a line that begins with a dot
/*	is nroff.
/*--*/

import {readFileSync, writeFileSync} from 'node:fs';

/** Where the page of each command comes from. */
export const sources: ReadonlyMap<string, string> = new Map([
	['tlsproxy.8', 'src/main.ts'],
	['postfix-tlsproxy-doctor.1', 'postfix/lib/doctor.ts'],
	['postfix-tlsproxy-install.1', 'postfix/lib/install.ts'],
	['postfix-tlsproxy-uninstall.1', 'postfix/uninstall'],
]);

/** What the package puts in front of the names of commands. */
const PREFIX = 'postfix-tlsproxy-';

/* Sections whose lines are not to be joined. */
const LINES = new Set(['SYNOPSIS', 'SEE ALSO', 'LICENSE']);

/**
 * The manual page in a source file, as nroff.
 *
 * @param name - of the page, without the section, when it differs from that in the source.
 */
export function manualPage(source: string, name?: string): string {
	const block = /^(?:\/\*|#)\+\+\n([\s\S]*?)^(?:\/\*--\*\/|#--)$/m.exec(source)?.[1] ?? '';
	const sections = sectionsOf(block);
	const [own = '', section = ''] = (sections.get('NAME')?.[0] ?? '').split(' ');
	const title = name ?? own;
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
			output.push(nroff(renamed(line, heading, own, title)));
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

/* Commands call each other by the names that they have in the source. */
function renamed(line: string, heading: string, own: string, title: string): string {
	if (own === title) {
		return line;
	}

	return heading === 'SYNOPSIS' && line.startsWith(`${own} `)
		? title + line.slice(own.length)
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

/** The page that belongs to a file of this directory. */
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
