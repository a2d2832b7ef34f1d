import test from 'ava';
import {
	decodeBase64,
	errorText,
	foldSpace,
	fromBytes,
	hexText,
	splitList,
	stackText,
	toBytes,
	trimSpace,
} from '../../src/base/text.ts';

test('splitList splits at blank, tab, carriage return, newline and comma', t => {
	t.deepEqual(splitList(' a, b,,c\td\n'), ['a', 'b', 'c', 'd']);
	t.deepEqual(splitList('a\r\nb'), ['a', 'b']);
	t.deepEqual(splitList(' , '), []);
	t.deepEqual(splitList(''), []);
	t.deepEqual(splitList('a:b'), ['a:b']);
	t.deepEqual(splitList('a:b', ':'), ['a', 'b']);
});

test('no other character separates elements', t => {
	for (let code = 0; code < 256; code++) {
		const character = String.fromCharCode(code);
		const expected = ' \t\r\n,'.includes(character) ? ['a', 'b'] : [`a${character}b`];
		t.deepEqual(splitList(`a${character}b`), expected, `character ${code}`);
	}

	t.deepEqual(splitList(toBytes('/etc/voilà.pem /etc/b')), [toBytes('/etc/voilà.pem'), '/etc/b']);
});

test('foldSpace makes one blank of each run of white space', t => {
	t.is(foldSpace('\t a \r\n b\tc  '), 'a b c');
	t.is(foldSpace(' \n'), '');
	t.is(foldSpace('a\vb\fc'), 'a\vb\fc');
});

test('trimSpace removes white space of C at both ends, and no other', t => {
	t.is(trimSpace(' \t\n\v\f\ra  b \t\n\v\f\r'), 'a  b');
	t.is(trimSpace('\u00A0a\u00A0'), '\u00A0a\u00A0');
});

test('toBytes has a character for each byte, and fromBytes takes it back', t => {
	t.is(toBytes('é'), '\u00C3\u00A9');
	t.is(fromBytes(toBytes('bücher 例')), 'bücher 例');
});

test('errorText is the message of an error, and the text of anything else', t => {
	t.is(errorText(new TypeError('no')), 'no');
	t.is(errorText('no'), 'no');
	t.is(errorText(undefined), 'undefined');
});

test('stackText shows where an error was made, and is the text of anything else', t => {
	t.regex(stackText(new TypeError('no')), /^TypeError: no\n +at .*text\.ts:\d+/);
	const error = new Error('no');
	delete error.stack;
	t.is(stackText(error), 'no');
	t.is(stackText('no'), 'no');
});

test('hexText prints two upper-case digits per byte, and separators between bytes only', t => {
	t.is(hexText(Uint8Array.of(0, 0xab, 7)), '00AB07');
	t.is(hexText(Uint8Array.of(0, 0xab, 7), ':'), '00:AB:07');
	t.is(hexText(Uint8Array.of(), ':'), '');
	t.is(hexText(Uint8Array.of(1, 2, 3, 4).subarray(1, 3), ':'), '02:03');
});

test('decodeBase64 decodes what Node.js encodes', t => {
	for (const text of ['', 'a', 'ab', 'abc', 'abcd', '\0\xff+/=']) {
		const bytes = Buffer.from(text, 'latin1');
		t.deepEqual(decodeBase64(bytes.toString('base64')), bytes);
	}
});

test('decodeBase64 rejects a length that is not a multiple of four, other characters, and misplaced padding', t => {
	for (const text of [
		'A',
		'AA',
		'AAA',
		'AAAAA',
		'AA A',
		'AA-_',
		'AAA\n',
		'AAA\u00e9',
		'====',
		'A===',
		'AAAA=AAA',
	]) {
		t.is(decodeBase64(text), undefined, text);
	}
});

test('decodeBase64 ignores what follows the padding, as Postfix does', t => {
	t.deepEqual(decodeBase64('YQ=x'), Buffer.from('a'));
	t.deepEqual(decodeBase64('YWI=YWJj'), Buffer.from('ab'));
});
