/*++
/* NAME
/*	hostname 3
/* SUMMARY
/*	validates host names
/* DESCRIPTION
/*	Accepts the names that Postfix accepts. Unlike the standards,
/*	Postfix accepts underscores, because they are common. Converts
/*	names to lower case.
/* SEE ALSO
/*	postfix src/util/valid_hostname.c
/*--*/

/* In bytes. Source: postfix src/util/valid_hostname.h. */
const NAME_LIMIT = 255;
const LABEL_LIMIT = 63;

/**
 * Whether a text is a host name: labels of letters, digits, underscores and inner hyphens, and at least one
 * character that is not a digit.
 */
export function isHostname(text: string): boolean {
	return text.length <= NAME_LIMIT && /[^\d.]/.test(text) && text.split('.').every(label => isLabel(label));
}

function isLabel(label: string): boolean {
	return label.length <= LABEL_LIMIT && /^\w(?:[\w-]*\w)?$/.test(label);
}

/** Lower case for letters of ASCII only: names have one character per byte. Source: lowercase(), postfix src/util/lowercase.c. */
export function lowercase(text: string): string {
	return text.replaceAll(/[A-Z]+/g, letters => letters.toLowerCase());
}
