// A free batch (-1) in a TFLite file, which LiteRT.js does not take, becomes 1. The layout is that of TFLite's schema.fbs.

const SUBGRAPHS = 2, TENSORS = 0, SHAPE_SIGNATURE = 7; // fields of Model, SubGraph and Tensor

/** `file` with 1 for each -1 in its tensors' `shape_signature`; changed in place. */
export function withBatchOfOne(file) {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const follow = (at) => at + view.getUint32(at, true);
  for (const subgraph of tables(view, field(view, follow(0), SUBGRAPHS))) {
    for (const tensor of tables(view, field(view, subgraph, TENSORS))) {
      const signature = field(view, tensor, SHAPE_SIGNATURE);
      for (let i = 0; signature && i < view.getUint32(signature, true); i++) {
        if (view.getInt32(signature + 4 + 4 * i, true) === -1) view.setInt32(signature + 4 + 4 * i, 1, true);
      }
    }
  }
  return file;
}

/** Where the vector in field `index` of a table begins; 0 where the table lacks it. */
function field(view, table, index) {
  const vtable = table - view.getInt32(table, true), entry = 4 + 2 * index;
  const offset = entry < view.getUint16(vtable, true) ? view.getUint16(vtable + entry, true) : 0;
  return offset && table + offset + view.getUint32(table + offset, true);
}

/** Where the tables of a vector begin. */
function tables(view, vector) {
  const at = (i) => vector + 4 + 4 * i;
  return Array.from({ length: view.getUint32(vector, true) }, (_, i) => at(i) + view.getUint32(at(i), true));
}
