/*++
/* NAME
/*	hostname 3
/* SUMMARY
/*	what a host name looks like
/* DESCRIPTION
/*	The names that Postfix takes for host names: not quite those of the
/*	standards, since underscores are common; and their lower case.
/* SEE ALSO
/*	postfix src/util/valid_hostname.c
/*--*/

/* Bytes. Source: valid_hostname.h. */
const NAME_LIMIT = 255;
const LABEL_LIMIT = 63;

/** Whether a text is a host name: labels of letters, digits, underscores and inner hyphens, not all of them numbers. */
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
