// Package wire reads and writes the XML of the chat pipeline's HTTP interface,
// for the server and for the client.
//
// The reader takes what the SDKs in use send: elements in any order, with or
// without a namespace, a prolog or a prefix. It knows no document type and no
// entities but the five of XML itself, and bounds depth and number of elements,
// so that a small body stays small in memory.
//
// The writer emits one line without white space between elements, never an
// empty element, and a namespace without a slash at its end: some SDKs cannot
// read anything else.
package wire
