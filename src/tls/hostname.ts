/*++
/* NAME
/*	hostname 3
/* SUMMARY
/*	what a host name looks like
/* DESCRIPTION
/*	The names that Postfix takes for host names: not quite those of the
/*	standards, since underscores are common.
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
