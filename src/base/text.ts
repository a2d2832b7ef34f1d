/*++
/* NAME
/*	text 3
/* SUMMARY
/*	conversions of text
/* DESCRIPTION
/*	Lists, white space and bytes as Postfix understands them, and the
/*	text of errors and binary data.
/*
/*	Postfix has three definitions of white space. JavaScript has
/*	another one, which includes characters above 127. A name in UTF-8
/*	that is stored with one character per byte contains such
/*	characters: the second byte of the letter "a" with a grave accent
/*	is a no-break space.
/* SEE ALSO
/*	postfix src/util/sys_defs.h, CHARS_COMMA_SP, CHARS_SPACE, ISSPACE
/*--*/

/**
 * The elements of a list. Separators are blank, tab, carriage return, newline and comma.
 *
 * @param separators - further separators.
 * Source: CHARS_COMMA_SP, postfix src/util/sys_defs.h.
 */
export function splitList(text: string, separators = ''): readonly string[] {
	return text.split(new RegExp(`[ \\t\\r\\n,${separators}]+`)).filter(element => element !== '');
}

/** Text with each run of white space replaced by one blank. Source: pcf_print_line(), postfix src/postconf/postconf_print.c. */
export function foldSpace(text: string): string {
	return text
		.split(/[ \t\r\n]+/)
		.filter(element => element !== '')
		.join(' ');
}

/** Text without white space at either end. Source: ISSPACE, postfix src/util/sys_defs.h. */
export function trimSpace(text: string): string {
	return text.replaceAll(/^[ \t\n\v\f\r]+|[ \t\n\v\f\r]+$/g, '');
}

/** Text from the configuration in the form that text from the wire has: one character per byte of UTF-8. */
export function toBytes(text: string): string {
	return Buffer.from(text).toString('latin1');
}

/** The opposite of toBytes(). Bytes that are not valid UTF-8 become U+FFFD. */
export function fromBytes(text: string): string {
	return Buffer.from(text, 'latin1').toString();
}

/** The message of an error, or the text of any other value that was thrown. */
export function errorText(reason: unknown): string {
	return reason instanceof Error ? reason.message : String(reason);
}

/** The stack of an Error, or its message, or any other thrown value as text. */
export function stackText(reason: unknown): string {
	return reason instanceof Error ? (reason.stack ?? reason.message) : String(reason);
}

/** Upper-case hexadecimal digits, two per byte, with a separator between bytes. */
export function hexText(bytes: Uint8Array, separator = ''): string {
	const digits = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex').toUpperCase();
	return separator === '' ? digits : digits.replaceAll(/..(?=.)/g, `$&${separator}`);
}

/**
 * Decodes base64 as Postfix does. Node.js skips characters that are not base64, where Postfix rejects the text.
 *
 * Note: Postfix ignores what follows the first padding character, except that the length of the whole text
 * must be a multiple of four.
 *
 * @returns undefined for malformed text. Source: base64_decode_opt(), postfix src/util/base64_code.c.
 */
export function decodeBase64(text: string): Buffer | undefined {
	const padding = text.indexOf('=');
	const digits = padding < 0 ? text : text.slice(0, padding);
	const misplaced = padding >= 0 && padding % 4 < 2;
	return text.length % 4 === 0 && !misplaced && /^[A-Za-z0-9+/]*$/.test(digits)
		? Buffer.from(digits, 'base64')
		: undefined;
}
