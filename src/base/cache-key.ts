/*++
/* NAME
/*	cache-key 3
/* SUMMARY
/*	one string that identifies a list of strings
/* DESCRIPTION
/*	A Map compares its keys as one value, so a key that consists of
/*	several parts must be encoded. A separator between the parts is
/*	not enough: the parts of a key come from requests and from files,
/*	and any of them may contain it. Here each part is preceded by its
/*	length, as in a netstring. Two lists have the same key only if
/*	they have the same number of parts and equal parts in the same
/*	order, whatever characters the parts contain.
/*
/*	A list inside a list is encoded first:
/* .nf
/*
/*	cacheKey(grade, cacheKey(...names))
/* .fi
/* BUGS
/*	The result is for comparison only. It is not stored, sent or
/*	logged, and its form may change.
/*--*/

/** The key of a list of strings. */
export function cacheKey(...parts: readonly string[]): string {
	let key = '';
	for (const part of parts) {
		key += `${part.length}:${part}`;
	}

	return key;
}
