/*
 * Sends each name of Unicode's test file to both programs, as SNI name and as match
 * name. The certificate contains the ASCII form from that file.
 */
import {readFileSync} from 'node:fs';
import test from 'ava';
import {type NamedOutcome, NameLab, sentAndMatched} from '../helpers/names.ts';
import {extract} from '../helpers/packages.ts';

const lab = new NameLab();
test.after.always(() => lab[Symbol.dispose]());

/* Names and their ASCII forms, without the transitional processing of IDNA2003. */
async function unicodeNames(): Promise<ReadonlyMap<string, string>> {
	const files = await extract('librust-idna-dev');
	const text = readFileSync(files.file('usr/share/cargo/registry/idna-*/tests/IdnaTestV2.txt'), 'utf8');
	const names = new Map<string, string>();
	for (const line of text.split('\n')) {
		const [source = '', toUnicode, , toAscii] = line
			.replace(/#.*$/, '')
			.split(';')
			.map(field => unescaped(field.trim()));
		if (toAscii !== undefined) {
			/* An empty field has the same value as the previous field. */
			names.set(source, toAscii || toUnicode || source);
		}
	}

	return names;
}

function unescaped(text: string): string {
	return text.replaceAll(/\\u([\dA-Fa-f]{4})|\\x\{([\dA-Fa-f]+)\}/g, (_, four, any) =>
		String.fromCodePoint(Number.parseInt(String(four ?? any), 16)),
	);
}

const MATCHED = 8;
const matches = ({peerStatus = 0}: NamedOutcome): boolean => (peerStatus & MATCHED) !== 0;
const hasWarning = ({lines}: NamedOutcome): boolean => lines.some(line => line.startsWith('warning: midna_'));

test('each name of the Unicode test file is sent, matched and logged as by stock', async t => {
	const names = await unicodeNames();
	t.true(names.size > 3000, String(names.size));
	const outcomes = await lab.compare(
		t,
		Array.from(names, ([name, certificate]) => sentAndMatched(name, certificate)),
	);
	const [matched, warned] = [matches, hasWarning].map(
		condition => outcomes.filter(outcome => condition(outcome)).length,
	);
	t.log(`${names.size} names: ${matched} match, ${warned} with a warning`);
	/* The names cover both outcomes. */
	t.true(outcomes.some(outcome => matches(outcome) && !hasWarning(outcome)));
	t.true(outcomes.some(outcome => !matches(outcome) && hasWarning(outcome)));
});
