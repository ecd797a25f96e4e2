/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib/gi18n.h>

#include "share-page.h"

static void append_text(GString *html, const char *text) {
        g_autofree char *escaped = g_markup_escape_text(text, -1);

        g_string_append(html, escaped);
}

static void append_row(GString *rows,
                       const char *address,
                       const char *name,
                       const char *detail,
                       gboolean download) {
        g_string_append(rows, "<li><a href=\"");
        append_text(rows, address);
        g_string_append(rows, download ? "\" download>" : "\">");
        g_string_append(rows, "<span class=\"name\" dir=\"auto\">");
        append_text(rows, name);
        g_string_append(rows, "</span><span class=\"detail\">");
        append_text(rows, detail);
        g_string_append(rows, "</span></a></li>\n");
}

/* The parts of a page that differ; {{name}} in page.html. */
typedef struct Page {
        const char *heading;
        GString *rows;
        const char *zip; /* address */
        const char *downloads;
        gboolean uploads; /* are allowed */
        const char *nonce;
} Page;

static char *fill(const Page *page) {
        g_autoptr(GBytes) bytes = g_resources_lookup_data("/org/example/TCPServerSocket/Share/page.html",
                                                          G_RESOURCE_LOOKUP_FLAGS_NONE, NULL);
        g_auto(GStrv) parts = g_strsplit(g_bytes_get_data(bytes, NULL), "{{", -1);
        const struct {
                const char *name, *text;
                gboolean is_html;
        } texts[] = {
                /* Translators: the code of your language, as in the attribute lang of HTML, such as "de". */
                { "language", _("en") },
                { "heading", page->heading },
                { "nonce", page->nonce },
                { "rows", page->rows->str, TRUE },
                { "zip", page->zip },
                { "zip-hidden", page->rows->len > 0 ? "" : "hidden" },
                { "download-all", _("Download All as Zip Archive") },
                { "downloads", page->downloads, TRUE },
                { "empty", page->rows->len > 0 ? "" : _("Nothing is shared here.") },
                { "uploads", page->uploads ? "allowed" : "" },
                { "send", _("Send Files") },
                { "send-hint", _("The files are saved on the other computer.") },
                { "sending", _("Sending…") },
                { "sent", _("Sent") },
                { "failed", _("Not sent") },
        };
        GString *html = g_string_new(parts[0]);

        for (guint i = 1; parts[i]; i++) {
                const char *end = strstr(parts[i], "}}");
                g_autofree char *name = g_strndup(parts[i], (gsize) (end - parts[i]));

                for (guint j = 0; j < G_N_ELEMENTS(texts); j++)
                        if (g_str_equal(name, texts[j].name)) {
                                if (texts[j].is_html)
                                        g_string_append(html, texts[j].text);
                                else
                                        append_text(html, texts[j].text);
                        }
                g_string_append(html, end + strlen("}}"));
        }
        return g_string_free(html, FALSE);
}

char *share_page_get_policy(const char *nonce) {
        return g_strdup_printf(
                        "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-%s'; "
                        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
                        nonce);
}

static void append_download(GString *rows, ShareTransfer *transfer) {
        goffset size = share_transfer_get_size(transfer), done = share_transfer_get_done(transfer);
        ShareTransferState state = share_transfer_get_state(transfer);
        g_autofree char *done_text = g_format_size((guint64) done);
        g_autofree char *size_text = size < 0 ? NULL : g_format_size((guint64) size);
        g_autofree char *detail = NULL;

        g_string_append(rows, "<li><div><span class=\"name\" dir=\"auto\">");
        append_text(rows, share_transfer_get_name(transfer));
        g_string_append(rows, "</span>");
        if (state == SHARE_TRANSFER_ACTIVE) {
                g_string_append(rows, "<progress aria-label=\"");
                append_text(rows, share_transfer_get_name(transfer));
                if (size > 0)
                        g_string_append_printf(rows,
                                               "\" value=\"%" G_GINT64_FORMAT "\" max=\"%" G_GINT64_FORMAT,
                                               done, size);
                g_string_append(rows, "\"></progress>");
        }
        if (state == SHARE_TRANSFER_FAILED)
                detail = g_strdup(_("Interrupted"));
        else if (state == SHARE_TRANSFER_DONE || size < 0)
                detail = g_strdup(done_text);
        else
                /* Translators: two numbers of bytes, such as "3 MB of 10 MB". */
                detail = g_strdup_printf(_("%s of %s"), done_text, size_text);
        g_string_append(rows, "<span class=\"detail\">");
        append_text(rows, detail);
        g_string_append(rows, "</span></div></li>\n");
}

char *share_page_for_downloads(GListModel *transfers, const char *peer) {
        g_autoptr(GString) rows = g_string_new(NULL);
        guint n_transfers = g_list_model_get_n_items(transfers);

        for (guint i = 0; i < n_transfers; i++) {
                g_autoptr(ShareTransfer) transfer = g_list_model_get_item(transfers, i);

                if (!share_transfer_get_is_upload(transfer) &&
                    g_strcmp0(share_transfer_get_peer(transfer), peer) == 0)
                        append_download(rows, transfer);
        }
        return rows->len == 0 ? g_strdup("")
                              : g_strdup_printf("<h2>%s</h2>\n<ul>\n%s</ul>\n", _("Downloads"), rows->str);
}

char *share_page_for_items(GListModel *items, const char *downloads, gboolean uploads, const char *nonce) {
        g_autoptr(GString) rows = g_string_new(NULL);
        guint n_items = g_list_model_get_n_items(items);

        for (guint i = 0; i < n_items; i++) {
                g_autoptr(ShareItem) item = g_list_model_get_item(items, i);
                g_autofree char *basename = g_file_get_basename(share_item_get_file(item));
                g_autofree char *escaped = g_uri_escape_string(basename, NULL, FALSE);
                gboolean is_folder = share_item_is_folder(item);
                g_autofree char *address = g_strdup_printf("/files/%u/%s%s", share_item_get_id(item), escaped,
                                                           is_folder ? "/" : "");

                append_row(rows, address, share_item_get_name(item), share_item_get_detail(item), !is_folder);
        }
        return fill(&(Page) { _("Shared Files"), rows, "/zip", downloads, uploads, nonce });
}

char *share_page_for_folder(const ShareFound *folder,
                            const char *address,
                            const char *downloads,
                            const char *nonce) {
        g_autoptr(GString) rows = g_string_new(NULL);
        g_autofree char *zip = g_strconcat("/zip", address + strlen("/files"), NULL);

        for (guint i = 0; i < folder->children->len; i++) {
                GFileInfo *info = folder->children->pdata[i];
                gboolean is_folder = g_file_info_get_file_type(info) == G_FILE_TYPE_DIRECTORY;
                g_autofree char *escaped = g_uri_escape_string(g_file_info_get_name(info), NULL, FALSE);
                g_autofree char *child = g_strconcat(address, escaped, is_folder ? "/" : "", NULL);
                g_autofree char *size = g_format_size((guint64) g_file_info_get_size(info));

                append_row(rows, child, g_file_info_get_display_name(info), is_folder ? _("Folder") : size,
                           !is_folder);
        }
        return fill(&(Page) { g_file_info_get_display_name(folder->info), rows, zip, downloads, FALSE,
                              nonce });
}
