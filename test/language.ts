/*
 * Plain technical English: searches documents, manual pages, module headers, comments
 * and test titles for habits that confuse readers. Code, code samples, and the log lines
 * that stock tlsproxy(8) also writes are not examined.
 */
import {globSync, readFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';

const project = join(import.meta.dirname, '..');

/** A habit that a pattern finds. */
interface Habit {
	/** The recommended wording. */
	readonly advice: string;
	readonly pattern: RegExp;
	/** Examples: one that the pattern must find, and a similar one that it must not find. */
	readonly wrong: string;
	readonly right: string;
}

const habits: readonly Habit[] = [
	{
		advice: 'start the sentence with a noun, not with a relative clause',
		pattern: /(?:^|[.!?:;] )(?:Who|Whom|Whose|What|Where (?:there|it|that|this) (?:is|are))\b(?![^.!?]*\?)/,
		wrong: 'Who needs room asks for it.',
		right: 'Who reads this? A session that needs to write enables EPOLLOUT.',
	},
	{
		advice: 'name the subject or object instead of who, whoever or whatever',
		pattern:
			/\bwho(?:m|so)?ever\b|\bwhatever (?:is|was|has|had|can|may|comes?|came|else|it|they|we)\b|\b(?:those|of|to|for|with|by|from|than|but|and|if) who\b/i,
		wrong: 'Whoever wants more gets it.',
		right: 'An attacker who sends more, for whatever reason, is refused.',
	},
	{
		advice: 'replace the preposition and what by a noun',
		pattern: /\b(?:with|for|but) what\b/i,
		wrong: 'selects with what requests are served',
		right: 'differs from what a request contains',
	},
	{
		advice: 'repeat the noun: without Perl, if a certificate exists',
		pattern:
			/\bthere (?:is|are|was|were) (?:none|one|any|some)\b(?! \w+(?: \w+)*? (?:per|for each))(?=$|[,.;:)]| (?:of|for|to|in|that|who|already)\b)|\b[Ww]here there (?:is|are)\b/i,
		wrong: 'Where there is none, it is made.',
		right: 'There is one request per key.',
	},
	{
		advice: 'write reports, logs, notifies, sends, states or contains',
		pattern: /\b(?:tells?|told|telling|says?|said|saying)\b/i,
		wrong: 'It tells of room each time.',
		right: 'It reports EPOLLOUT each time.',
	},
	{
		advice: 'write text, message, argument or log line',
		pattern: /(?<!\b(?:bit|machine|key|pass)[ -])\bwords?\b(?!\.\w)/i,
		wrong: 'in the words of stock',
		right: 'a 16-bit word after the keyword, in words.ts',
	},
	{
		advice: 'write process, client, user, administrator or attacker, and it',
		pattern:
			/\b(?:he|him|himself|his|she|nobody|somebody|someone|anybody|anyone else|everybody|everyone|strangers?)\b/i,
		wrong: 'the client leaves; nobody waits for him',
		right: 'the client disconnects; no process waits for it',
	},
	{
		advice: 'write after, in addition to, except or next to',
		pattern: /\bbesides?\b|\bbehind\b(?! (?:a |the )?(?:NAT|firewall|load balancer)|[.,;]|$)/i,
		wrong: 'bytes behind the hello',
		right: 'a client behind a firewall leaves no bytes behind',
	},
	{
		advice: 'omit own, or name the owner',
		pattern: /\b(?:its|their|our|your|one's|\w+'s|\w+s') own\b|\bof (?:ours|theirs|yours|mine)\b/i,
		wrong: 'a process of its own',
		right: 'a separate process that owns the descriptor',
	},
	{
		advice: 'state how the quantities depend on each other',
		pattern: /\bthe (?:more|less|fewer|longer|larger|smaller|later|sooner) the \w/i,
		wrong: 'the more the less is going on',
		right: 'the difference grows as load falls',
	},
	{
		advice: 'state the fact directly',
		pattern:
			/\bc[ao]mes? (?:of|to) (?:it|nothing|that)\b|\bbe it\b|\bfares?\b|\bin hand\b|(?:^|[.;:] )So (?:it|they) (?:is|are|does|do)\b|\b(?:has|have|had) to do with\b/i,
		wrong: 'They were read, and nothing came of it.',
		right: 'These parameters were parsed but had no effect. It comes to the front of the queue.',
	},
];

/** SUMMARY is a noun phrase or a verb phrase. */
const summary: Habit = {
	advice: 'SUMMARY is a noun phrase or a verb phrase',
	pattern: /^(?:what|who|whose|whom|whether|how|why|where|when|with|which|that|if|as)\b/i,
	wrong: 'with what requests of the server role are served',
	right: 'selects the SSL_CTX for a server-role request',
};

for (const {advice, pattern, wrong, right} of [...habits, summary]) {
	test(`the pattern for "${advice}" finds its example, and only that`, t => {
		t.regex(wrong, pattern);
		t.notRegex(right, pattern);
	});
}

/** A paragraph, list item, table cell or comment, without line breaks. */
interface Passage {
	readonly line: number;
	readonly text: string;
	readonly isSummary?: boolean;
}

/** Joins adjacent lines. An empty line, or a line for which `starts` returns true, begins another passage. */
function passages(
	lines: ReadonlyArray<readonly [line: number, text: string]>,
	starts: (text: string) => boolean = () => false,
): readonly Passage[] {
	const found: Array<{line: number; text: string}> = [];
	let open = false;
	for (const [line, raw] of lines) {
		const text = raw.trim();
		const last = found.at(-1);
		if (text === '') {
			open = false;
		} else if (open && last !== undefined && !starts(text)) {
			last.text += ` ${text}`;
		} else {
			found.push({line, text});
			open = true;
		}
	}

	return found;
}

function numbered(text: string, first = 1): ReadonlyArray<readonly [number, string]> {
	return text.split('\n').map((line, index) => [first + index, line] as const);
}

/** Markdown: without code samples and inline code; each table cell, list item and heading is a passage. */
function markdownPassages(text: string): readonly Passage[] {
	const lines = numbered(text).flatMap(([line, raw]): ReadonlyArray<readonly [number, string]> => {
		if (raw.startsWith('\t')) {
			return [[line, '']];
		}

		const plain = raw
			.replaceAll(/`[^`]*`/g, 'code')
			.replaceAll(/\]\([^)]*\)/g, ']')
			.replaceAll(/[*_]{1,2}(?=\S)|(?<=\S)[*_]{1,2}/g, '');
		const cells = plain.startsWith('|') ? plain.split('|') : [plain];
		return cells.flatMap(cell =>
			cells.length > 1
				? [
						[line, cell],
						[line, ''],
					]
				: [[line, cell]],
		);
	});
	const mark = /^(?:[-*]|#+|\d+\.) +/;
	return passages(lines, start => mark.test(start)).map(passage => ({
		...passage,
		text: passage.text.replace(mark, ''),
	}));
}

/** A manual page in nroff. */
function manualPassages(text: string): readonly Passage[] {
	return passages(
		numbered(text).map(([line, raw]) => [line, raw.startsWith('.') ? '' : raw.replaceAll('\\-', '-')]),
	);
}

/** A module header or another comment that consists of manual page sections. */
function headerPassages(block: string, first: number): readonly Passage[] {
	let heading = '';
	const lines: Array<readonly [number, string]> = [];
	const summaries = new Set<number>();
	for (const [line, raw] of numbered(block, first)) {
		const text = raw.replace(/^(?:\/\*|#) ?/, '');
		if (/^[A-Z]/.test(text)) {
			heading = text.trim();
			lines.push([line, '']);
		} else if (heading !== 'NAME' && heading !== 'SYNOPSIS') {
			lines.push([line, text.startsWith('.') ? '' : text]);
			if (heading === 'SUMMARY') {
				summaries.add(line);
			}
		}
	}

	return passages(lines).map(passage => ({...passage, isSummary: summaries.has(passage.line)}));
}

/** The title of a test: the string in front of its function. */
const TITLE = /\(\s*(?:'((?:[^'\\]|\\.)*)'|`((?:[^`\\]|\\.)*)`),\s*(?:async )?t =>/g;

/** The comments and the test titles of a TypeScript source. */
function sourcePassages(source: string): readonly Passage[] {
	const found: Passage[] = [];
	const lineAt = (offset: number): number => source.slice(0, offset).split('\n').length;
	const header = /^\/\*\+\+\n[\s\S]*?\/\*--\*\/\n/.exec(source)?.[0] ?? '';
	found.push(...headerPassages(header.replace(/\/\*--\*\/\n$/, '').replace('/*++', ''), 1));
	for (const {offset, text} of commentsIn(source, header.length)) {
		const plain = text
			.replace(/^\/\*+|\*+\/$/g, '')
			.replace(/^\/\//, '')
			.replaceAll(/^[ \t]*\*/gm, '')
			.replaceAll(/`[^`]*`/g, 'code');
		found.push(...passages(numbered(plain, lineAt(offset)), start => start.startsWith('@')));
	}

	for (const match of source.matchAll(TITLE)) {
		found.push({line: lineAt(match.index), text: match[1] ?? match[2] ?? ''});
	}

	return found;
}

/** The comments of a source, from an offset on. Strings, templates and regular expressions are not comments. */
function commentsIn(
	source: string,
	from: number,
): ReadonlyArray<{readonly offset: number; readonly text: string}> {
	const token =
		/\/\*[\s\S]*?\*\/|\/\/.*|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|(?<=[(,=:[!&|?{};>\n]\s*|return |case )\/(?![*/])(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/|`|[{}]/g;
	token.lastIndex = from;
	const comments: Array<{readonly offset: number; readonly text: string}> = [];
	/* Open braces of each template expression; a template ends the innermost one. */
	const templates: number[] = [];
	for (let match = token.exec(source); match !== null; match = token.exec(source)) {
		const [text] = match;
		const depth = templates.length - 1;
		if (text.startsWith('/*') || text.startsWith('//')) {
			comments.push({offset: match.index, text});
		} else if (text === '{' && depth >= 0) {
			templates[depth] = (templates[depth] ?? 0) + 1;
		} else if (text === '`' || (text === '}' && depth >= 0)) {
			const inner = text === '}' ? (templates[depth] ?? 0) - 1 : undefined;
			if (inner !== undefined && inner >= 0) {
				templates[depth] = inner;
				continue;
			}

			if (inner !== undefined) {
				templates.pop();
			}

			/* The text of a template: up to its end, or to its next expression. */
			const content = /(?:[^`\\$]|\\[\s\S]|\$(?!\{))*(?:`|\$\{)/y;
			content.lastIndex = token.lastIndex;
			const end = content.exec(source)?.[0] ?? '';
			token.lastIndex += end.length;
			if (end.endsWith('${')) {
				templates.push(0);
			}
		}
	}

	return comments;
}

/** Comments of shell and Perl scripts, and of configuration files. */
function scriptPassages(text: string): readonly Passage[] {
	const header = /^#\+\+\n[\s\S]*?^#--\n/m.exec(text);
	const start = header?.index ?? 0;
	const block = header?.[0] ?? '';
	const first = text.slice(0, start).split('\n').length;
	const blank = text.slice(0, start) + block.replaceAll(/.+/g, '') + text.slice(start + block.length);
	return [
		...headerPassages(block.replace('#++', '').replace('#--', ''), first),
		...passages(
			numbered(blank).map(([line, raw]) => [
				line,
				raw.startsWith('#!') ? '' : (/^\s*#(.*)/.exec(raw)?.[1] ?? ''),
			]),
		),
	];
}

function passagesOf(path: string): readonly Passage[] {
	const text = readFileSync(join(project, path), 'utf8');
	if (path.endsWith('.md')) {
		return markdownPassages(text);
	}

	if (path === 'HISTORY') {
		return passages(numbered(text));
	}

	if (/\.[18]$/.test(path)) {
		return manualPassages(text);
	}

	return path.endsWith('.ts') ? sourcePassages(text) : scriptPassages(text);
}

/** The habits in a file: a line each. */
function findings(path: string): readonly string[] {
	return passagesOf(path).flatMap(({line, text, isSummary = false}) =>
		[...habits, ...(isSummary ? [summary] : [])].flatMap(({advice, pattern}) => {
			const match = pattern.exec(text);
			const excerpt = match && text.slice(Math.max(0, match.index - 20), match.index + match[0].length + 20);
			return excerpt === null ? [] : [`${path}:${line}: "${excerpt.trim()}": ${advice}`];
		}),
	);
}

const files = globSync(
	[
		'*.md',
		'HISTORY',
		'doc/**/*.md',
		'man/*.{md,ts,1,8}',
		'src/**/*.{ts,sh,pl}',
		'postfix/**/*',
		'test/**/*',
		'.ci/*',
	],
	{cwd: project, withFileTypes: true, exclude: path => path.name === 'fixtures'},
)
	.filter(entry => entry.isFile() && !/\.(?:c|json)$/.test(entry.name))
	.map(entry => join(entry.parentPath, entry.name).slice(project.length + 1))
	.toSorted();

test('the files that are examined include documents, manual pages, sources and scripts', t => {
	for (const path of [
		'README.md',
		'HISTORY',
		'doc/internals.md',
		'man/tlsproxy.8',
		'src/main.ts',
		'src/boot/supervisor.pl',
		'src/boot/supervisor.sh',
		'postfix/tlsproxy.main.cf',
		'postfix/build',
		'test/language.ts',
	]) {
		t.true(files.includes(path), path);
		t.true(passagesOf(path).length > 3, path);
	}
});

for (const path of files) {
	test(`${path} is plain technical English`, t => {
		t.deepEqual(findings(path), []);
	});
}

test('comments are found, and strings, templates and regular expressions are not comments', t => {
	const source = [
		"const a = '/* no */'; // first",
		'const b = `/* no ${f({x: `// no ${/* second */ 1} /* no */`})} // no`; /* third */',
		'const c = /["/*]/.exec(a); /** fourth */',
		"const d = a / 2 /* fifth */ / 3; const e = '\\'// no';",
	].join('\n');
	t.deepEqual(
		commentsIn(source, 0).map(({text}) => text),
		['// first', '/* second */', '/* third */', '/** fourth */', '/* fifth */'],
	);
});

test('passages of a source are those of its header, its comments and its test titles', t => {
	const source =
		"/*++\n/* NAME\n/*\tx 3\n/* SUMMARY\n/*\tan x\n/* DESCRIPTION\n/*\tOne,\n/*\ttwo.\n/*--*/\n/**\n * A `code`\n * comment.\n *\n * @param a - b.\n */\ntest('title', async t => {});\n";
	t.deepEqual(sourcePassages(source), [
		{line: 5, text: 'an x', isSummary: true},
		{line: 7, text: 'One, two.', isSummary: false},
		{line: 11, text: 'A code comment.'},
		{line: 14, text: '@param a - b.'},
		{line: 16, text: 'title'},
	]);
});

test('code samples of Markdown are not examined; table cells and list items are separate', t => {
	t.deepEqual(
		markdownPassages('# A\n\nOne `x`\ntwo.\n\n\tcode\n\n| a | b |\n- c\n- d\n').map(({text}) => text),
		['A', 'One code two.', 'a', 'b', 'c', 'd'],
	);
});
