/*++
/* NAME
/*	generate 1
/* SUMMARY
/*	manual pages from the blocks at the top of sources
/* SYNOPSIS
/*	node man/generate.ts
/* DESCRIPTION
/*	Writes man/tlsproxy.8 from src/main.ts. The rules are those of
/*	Postfix's srctoman(1): text between the markers of the block, each
/*	line without its prefix; a line that does not begin with white
/*	space is a heading; a line that begins with a dot is nroff.
/*--*/

import {readFileSync, writeFileSync} from 'node:fs';

/** The manual page in a source file, as nroff. */
export function manualPage(source: string): string {
	const block = /^\/\*\+\+\n([\s\S]*?)^\/\*--\*\/$/m.exec(source)?.[1] ?? '';
	const lines = block.split('\n').map(line => line.replace(/^\/\* ?/, ''));
	const output: string[] = [];
	let title = '';
	for (const line of lines.filter((text, index) => text !== '' || index < lines.length - 1)) {
		if (/^[A-Z]/.test(line)) {
			output.push(`.SH "${line}"`);
			continue;
		}

		const text = line.replace(/^\t/, '');
		if (output.at(-1) === '.SH "NAME"' && title === '') {
			const [name = '', section = ''] = text.split(' ');
			title = `.TH ${name.toUpperCase()} ${section}\n.ad\n.fi`;
			output.push(name);
		} else if (output.at(-1) === '.SH "SUMMARY"') {
			/* nroff wants the name and the purpose on one line. */
			output.splice(-2, 2, `${output.at(-2) ?? ''} \\- ${text}`);
		} else {
			output.push(
				text === ''
					? '.sp'
					: text.startsWith('.')
						? text
						: text.replaceAll('\\', '\\e').replaceAll('-', '\\-'),
			);
		}
	}

	return `${title}\n${output.join('\n')}\n`;
}

if (import.meta.main) {
	writeFileSync(
		new URL('tlsproxy.8', import.meta.url),
		manualPage(readFileSync(new URL('../src/main.ts', import.meta.url), 'utf8')),
	);
}
